"""Cut one layer: the rows of every part, for the fewest words sent at the balance asked for.

Three ways lead to a cut, and the best is kept. The *bound* way gives the partitioner the owners of
the inputs as vertices it may not move. The *free* way cuts for shared columns alone, and then names
the blocks after the owners: where owners have nothing to do with rows, as behind a permutation, it
finds the better cut in a tenth of the time, since columns of equal readers are one net whoever owns
them. The *near* way starts from every row where most of its inputs are. The last two are mended
with the owners in view.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import EspalierError
from espalier.network import Layer
from espalier.partitioning.assign_blocks import name_blocks, one_each
from espalier.partitioning.balance import deal_out, keep_limits, nearest_parts, share_limits
from espalier.partitioning.hypergraph import Hypergraph, Ints
from espalier.partitioning.mtkahypar import cut_hypergraph, improve_cut
from espalier.partitioning.volume import layer_volume

Owners = NDArray[np.int32]

# The free way is worth trying where it makes the problem this many times smaller ...
FREE_SHRINKS = 2
# ... and takes the place of the bound way beyond these, where that costs seconds and wins nothing.
BOUND_SHRINKS, BOUND_PINS = 4, 1 << 13
# A first layer that is as small is cut so often, since all layers of its block follow it.
STARTS = 4


def cut_layer(
    layer: Layer,
    owners: Owners | None,
    parts: int,
    *,
    imbalance: float | None,
    seed: int,
    reads: sp.csr_array[np.bool_, tuple[int, int]] | None = None,
) -> Owners:
    """The part of every row of a layer.

    Arguments:
        owners: int32 ``[inputs]``, the parts of its inputs; None where they are still open.
        imbalance: how much more than its share of the weights a part may have; None for as even
            as whole rows allow.
        reads: bool ``[rows, parts]``, the parts that read every row, where those are fixed too.

    Raises:
        EspalierError: the words of the cut are not those that are sent, which is a fault.
        MissingExtraError: mtkahypar is not installed.
    """
    graph = Hypergraph.of(layer, owners, parts)
    if reads is not None:
        graph = graph.with_readers(reads)
    if not graph.nets or not graph.weights.sum():
        return _in_blocks(layer.outputs, parts)
    limits = share_limits(graph.weights, parts, imbalance)
    if graph.vertices <= parts and owners is not None and reads is None:
        vertices = one_each(graph, parts)
    else:
        vertices = _best_cut(graph, limits, seed)
    rows = vertices[graph.vertex_of].astype(np.int32)
    if reads is None:
        rows = deal_out(rows, np.diff(layer.row_offsets) == 0, parts)
    if owners is not None and reads is None:
        _check(layer, owners, rows, graph.words(vertices, parts), parts)
    return rows


def _best_cut(graph: Hypergraph, limits: Ints, seed: int) -> Owners:
    parts = len(limits)
    if not len(graph.fixed):
        starts = STARTS if len(graph.pins) <= BOUND_PINS else 1
        tries = [cut_hypergraph(graph, limits, seed * STARTS + start) for start in range(starts)]
        kept = [keep_limits(graph, vertices, limits) for vertices in tries]
        return min(kept, key=lambda vertices: graph.words(vertices, parts))
    free = graph.without_owners()
    shrinks = len(graph.pins) / max(len(free.pins), 1)
    cuts = []
    if shrinks <= BOUND_SHRINKS or len(graph.pins) <= BOUND_PINS:
        cuts.append(keep_limits(graph, cut_hypergraph(graph, limits, seed), limits))
    if shrinks >= FREE_SHRINKS and free.nets:
        blocks = keep_limits(free, cut_hypergraph(free, limits, seed), limits)
        cuts.append(name_blocks(graph, blocks, parts))
        cuts.append(keep_limits(graph, improve_cut(graph, cuts[-1], limits, seed), limits))
    nearest = keep_limits(graph, nearest_parts(graph, parts), limits)
    cuts.append(keep_limits(graph, improve_cut(graph, nearest, limits, seed), limits))
    return min(cuts, key=lambda vertices: graph.words(vertices, parts))


def _in_blocks(rows: int, parts: int) -> Owners:
    return (np.arange(rows, dtype=np.int64) * parts // max(rows, 1)).astype(np.int32)


def _check(layer: Layer, owners: Owners, rows: Owners, words: int, parts: int) -> None:
    counted = layer_volume(layer, owners, rows, parts).total_words
    if counted != words:
        raise EspalierError(
            f"the cut of a layer costs {words:,} words, but {counted:,} would be sent; please "
            "report this"
        )
