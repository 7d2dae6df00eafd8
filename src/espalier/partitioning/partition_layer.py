"""Partition the rows of one layer, for the fewest words sent at the balance asked for.

Three candidates are made, and the one that sends the fewest words is kept. *Fixed*: the owners of
the inputs are vertices that the partitioner may not move. *Free*: the partitioner sees the columns
that rows share and no owners, and its blocks are assigned to parts afterwards: where owners have
nothing to do with rows, as behind a permutation, this finds the better partition in a tenth of the
time, since columns of equal readers are one net, whatever part owns them. *Nearest*: every row
starts where most of its inputs are. The last two are improved with the owners in view.

Source: the words that stay at home are a linear assignment of blocks to parts; D. F. Crouse, "On
implementing 2D rectangular assignment algorithms", IEEE TAES 2016, is what scipy solves it with.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from espalier.errors import EspalierError
from espalier.network import Layer
from espalier.partitioning.balance import (
    assign_empty_rows,
    max_part_weights,
    nearest_parts,
    owned_words,
    rebalance,
)
from espalier.partitioning.baselines import block_owners
from espalier.partitioning.hypergraph import Hypergraph, Ints, Owners
from espalier.partitioning.mtkahypar import improve_partition, partition_hypergraph
from espalier.partitioning.volume import layer_volume

# A free partition is worth trying where it makes the problem this many times smaller ...
FREE_SHRINKS = 2
# ... and replaces the fixed one beyond these, where that costs seconds and wins nothing.
FIXED_SHRINKS, FIXED_PINS = 4, 1 << 13
# A first layer that is as small is tried so often, since all layers of its block follow it.
STARTS = 4


def partition_layer(
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
        EspalierError: the cut is not the number of words that are sent, which is a fault.
        MissingExtraError: mtkahypar is not installed.
    """
    graph = Hypergraph.of(layer, owners, parts)
    if reads is not None:
        graph = graph.with_readers(reads)
    if not graph.nets or not graph.weights.sum():
        return block_owners(layer.outputs, parts)
    limits = max_part_weights(graph.weights, parts, imbalance)
    if graph.vertices <= parts and owners is not None and reads is None:
        vertices = assign_vertices(graph, parts)
    else:
        vertices = _best_partition(graph, limits, seed)
    rows = vertices[graph.vertex_of].astype(np.int32)
    if reads is None:
        rows = assign_empty_rows(rows, np.diff(layer.row_offsets) == 0, parts)
    if owners is not None and reads is None:
        _check(layer, owners, rows, graph.words(vertices, parts), parts)
    return rows


def _best_partition(graph: Hypergraph, limits: Ints, seed: int) -> Owners:
    parts = len(limits)

    def partitioned(problem: Hypergraph, start: int) -> Owners:
        return rebalance(problem, partition_hypergraph(problem, limits, start), limits)

    def improved(vertices: Owners) -> Owners:
        return rebalance(graph, improve_partition(graph, vertices, limits, seed), limits)

    candidates = []
    if not len(graph.fixed):
        starts = STARTS if len(graph.pins) <= FIXED_PINS else 1
        candidates = [partitioned(graph, seed * STARTS + start) for start in range(starts)]
    else:
        free = graph.without_owners()
        shrinks = len(graph.pins) / max(len(free.pins), 1)
        if shrinks <= FIXED_SHRINKS or len(graph.pins) <= FIXED_PINS:
            candidates.append(partitioned(graph, seed))
        if shrinks >= FREE_SHRINKS and free.nets:
            candidates.append(assign_blocks(graph, partitioned(free, seed), parts))
            candidates.append(improved(candidates[-1]))
        candidates.append(improved(rebalance(graph, nearest_parts(graph, parts), limits)))
    return min(candidates, key=lambda vertices: graph.words(vertices, parts))


def assign_blocks(graph: Hypergraph, blocks: Owners, parts: int) -> Owners:
    """Assign every block of vertices to a part, for the fewest words sent.

    Arguments:
        graph: whose nets join the parts that own their columns.
        blocks: int32 ``[vertices]``, the block of every vertex; blocks are as many as parts and
            all have the same limits.

    Returns:
        int32 ``[vertices]``, the part of every vertex.
    """
    net = np.repeat(np.arange(graph.nets), np.diff(graph.offsets))
    joined = np.unique(net * parts + blocks[graph.pins])
    home = np.repeat(np.arange(graph.nets), np.diff(graph.fixed_offsets))
    # For each pair of a block that a net joins and a part that it joins: the words kept at home.
    kept = np.zeros((parts, parts))
    first, last = np.searchsorted(joined, home * parts), np.searchsorted(joined, (home + 1) * parts)
    counts = last - first
    ends = np.cumsum(counts)
    place = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - counts), counts)
    np.add.at(
        kept,
        (joined[place] % parts, np.repeat(graph.fixed, counts)),
        np.repeat(graph.costs[home], counts),
    )
    _, part_of_block = linear_sum_assignment(kept, maximize=True)
    return part_of_block[blocks].astype(np.int32)


def assign_vertices(graph: Hypergraph, parts: int) -> Owners:
    """No more vertices than parts, one for each, for the fewest words sent."""
    kept = owned_words(graph, parts, np.arange(graph.vertices))
    vertices = np.empty(graph.vertices, np.int32)
    rows, chosen = linear_sum_assignment(kept, maximize=True)
    vertices[rows] = chosen
    return vertices


def _check(layer: Layer, owners: Owners, rows: Owners, words: int, parts: int) -> None:
    counted = layer_volume(layer, owners, rows, parts).total_words
    if counted != words:
        raise EspalierError(
            f"the cut of a layer costs {words:,} words, but {counted:,} would be sent; please "
            "report this"
        )
