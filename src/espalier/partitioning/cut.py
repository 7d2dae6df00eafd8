"""Cut one layer: the rows of every part, for the fewest words sent at the balance asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from espalier.errors import EspalierError
from espalier.network import Layer
from espalier.partitioning.hypergraph import Hypergraph, Ints, readers_of
from espalier.partitioning.mtkahypar import cut_hypergraph
from espalier.partitioning.volume import layer_volume

Owners = NDArray[np.int32]


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
    """
    graph = Hypergraph.of(layer, owners, parts)
    if reads is not None:
        graph = graph.with_readers(reads)
    if not graph.nets or not graph.weights.sum():
        return _in_blocks(layer.outputs, parts)
    limits = share_limits(graph.weights, parts, imbalance)
    if graph.vertices <= parts and owners is not None and reads is None:
        vertices = _one_each(graph, parts)
    else:
        vertices = cut_hypergraph(graph, limits, seed)
    vertices = repair(graph, vertices, limits)
    rows = vertices[graph.vertex_of].astype(np.int32)
    if owners is not None and reads is None:
        _check(layer, owners, rows, graph.words(vertices, parts), parts)
    return rows


def share_limits(weights: Ints, parts: int, imbalance: float | None) -> Ints:
    """The most that each part may weigh.

    >>> share_limits(np.array([4, 4, 4]), 2, None).tolist(), share_limits(np.ones(8), 2, 0.5)
    ([8, 8], array([6, 6]))
    """
    total, heaviest = int(weights.sum()), int(weights.max())
    if imbalance is not None:
        most = max(int((1.0 + imbalance) * total / parts), -(-total // parts))
    elif int(weights.min()) == heaviest:
        most = -(-len(weights) // parts) * heaviest
    else:
        most = -(-total // parts)
    return np.full(parts, max(most, heaviest), np.int64)


def place_inputs(layer: Layer, rows: Owners, parts: int) -> Owners:
    """Owners of inputs that are still open: each goes to a part that reads it, evenly.

    Wherever among its readers an input is, it is sent to all others; so only balance decides.
    """
    reads = readers_of(layer, rows, parts)
    options = np.diff(reads.indptr)
    load = np.zeros(parts, np.int64)
    owners = np.empty(layer.inputs, np.int32)
    # Those with the fewest readers first: they have the least choice. Unread ones fill up.
    for column in np.lexsort((np.arange(layer.inputs), np.where(options > 0, options, parts + 1))):
        readers = reads.indices[reads.indptr[column] : reads.indptr[column + 1]]
        choice = readers if len(readers) else np.arange(parts)
        owners[column] = choice[np.argmin(load[choice])]
        load[owners[column]] += 1
    return owners


def repair(graph: Hypergraph, vertices: Owners, limits: Ints) -> Owners:
    """Move the lightest vertices out of parts beyond their limit, to those that read most alike."""
    parts = len(limits)
    load = np.bincount(vertices, graph.weights, minlength=parts).astype(np.int64)
    if not (load > limits).any():
        return vertices
    moved = vertices.copy()
    owned = _owned_words(graph, parts)
    for part in np.flatnonzero(load > limits):
        for vertex in np.argsort(graph.weights, kind="stable"):
            if load[part] <= limits[part]:
                break
            weight = graph.weights[vertex]
            room = np.flatnonzero(load + weight <= limits)
            if moved[vertex] != part or not weight or not len(room):
                continue
            target = room[np.argmax(owned[vertex, room])]
            moved[vertex] = target
            load[part] -= weight
            load[target] += weight
    return moved


def _one_each(graph: Hypergraph, parts: int) -> Owners:
    """No more vertices than parts, one for each: an assignment, which has an exact answer."""
    rows, chosen = linear_sum_assignment(_owned_words(graph, parts), maximize=True)
    vertices = np.empty(graph.vertices, np.int32)
    vertices[rows] = chosen
    return vertices


def _owned_words(graph: Hypergraph, parts: int) -> NDArray[np.float64]:
    """For each vertex and part, how many of the columns it reads that part owns."""
    net = np.repeat(np.arange(graph.nets), np.diff(graph.offsets))
    joins = sp.csr_array(
        (np.ones(len(graph.fixed)), graph.fixed, graph.fixed_offsets), shape=(graph.nets, parts)
    )
    reads = sp.csr_array((graph.costs[net], (graph.pins, net)), shape=(graph.vertices, graph.nets))
    product: Any = reads @ joins
    return np.asarray(product.toarray(), np.float64)


def _in_blocks(rows: int, parts: int) -> Owners:
    return (np.arange(rows, dtype=np.int64) * parts // max(rows, 1)).astype(np.int32)


def _check(layer: Layer, owners: Owners, rows: Owners, words: int, parts: int) -> None:
    counted = layer_volume(layer, owners, rows, parts).total_words
    if counted != words:
        raise EspalierError(
            f"the cut of a layer costs {words:,} words, but {counted:,} would be sent; please "
            "report this"
        )
