"""Balance: how much a part may weigh, and how partitions are brought within that."""

from __future__ import annotations

import heapq

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.network import Layer
from espalier.partitioning.hypergraph import Hypergraph, Ints, Owners, readers_of


def max_part_weights(weights: Ints, parts: int, imbalance: float | None) -> Ints:
    """The most that each part may weigh.

    Arguments:
        weights: int64 ``[vertices]``, at least one.
        imbalance: how much more than its share a part may have; None for as even as vertices allow.

    >>> max_part_weights(np.array([4, 4, 4]), 2, None).tolist()
    [8, 8]
    >>> max_part_weights(np.array([6, 3, 3, 3]), 2, None).tolist()
    [9, 9]
    >>> max_part_weights(np.ones(8, np.int64), 2, 0.5).tolist()
    [6, 6]
    """
    total, heaviest = int(weights.sum()), int(weights.max())
    unit = max(int(np.gcd.reduce(weights)), 1)  # parts weigh whole multiples of it
    most = -(-total // (parts * unit)) * unit
    if imbalance is not None:
        most = max(most, int(min((1.0 + imbalance) * total / parts, total)))
    return np.full(parts, max(most, heaviest), np.int64)


def rebalance(graph: Hypergraph, vertices: Owners, limits: Ints) -> Owners:
    """Move what does not fit out of parts beyond their limit, to those that own most of its inputs.

    The heaviest stay first, since they are the hardest to move; where a vertex fits nowhere, it
    goes to the lightest part.
    """
    parts, weights = len(limits), graph.weights
    if (np.bincount(vertices, weights, minlength=parts) <= limits).all():
        return vertices
    kept = vertices.copy()
    load = np.zeros(parts, np.int64)
    overflow = []
    for vertex in np.argsort(-weights, kind="stable").tolist():
        if load[kept[vertex]] + weights[vertex] <= limits[kept[vertex]]:
            load[kept[vertex]] += weights[vertex]
        else:
            overflow.append(vertex)
    owned = owned_words(graph, parts, np.array(overflow))
    for vertex, mine in zip(overflow, owned, strict=True):
        room = np.flatnonzero(load + weights[vertex] <= limits)
        kept[vertex] = room[np.argmax(mine[room])] if len(room) else np.argmin(load)
        load[kept[vertex]] += weights[vertex]
    return kept


def owned_words(graph: Hypergraph, parts: int, vertices: Ints) -> NDArray[np.float64]:
    """For some vertices and each part, how many of the columns they read that part owns."""
    return np.asarray(_owned(graph, parts)[vertices].toarray(), np.float64)


def nearest_parts(graph: Hypergraph, parts: int) -> Owners:
    """For each vertex the part that owns most of the columns it reads, full or not."""
    owned = _owned(graph, parts)
    most = np.zeros(graph.vertices, np.int32)
    counts = np.diff(owned.indptr)
    rows = np.repeat(np.arange(graph.vertices), counts)
    order = np.lexsort((-owned.indices, owned.data, rows))
    last = np.cumsum(counts)[counts > 0] - 1
    most[counts > 0] = owned.indices[order[last]]
    return most


def _owned(graph: Hypergraph, parts: int) -> sp.csr_array[np.float64, tuple[int, int]]:
    net = np.repeat(np.arange(graph.nets), np.diff(graph.offsets))
    joins = sp.csr_array(
        (np.ones(len(graph.fixed)), graph.fixed, graph.fixed_offsets), shape=(graph.nets, parts)
    )
    reads = sp.coo_array((graph.costs[net], (graph.pins, net)), shape=(graph.vertices, graph.nets))
    owned: sp.csr_array[np.float64, tuple[int, int]] = sp.csr_array(sp.csr_array(reads) @ joins)
    return owned


def assign_empty_rows(owners: Owners, empty: NDArray[np.bool_], parts: int) -> Owners:
    """Give rows without weights, which cost nothing anywhere, to the parts of the fewest rows.

    >>> assign_empty_rows(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 0], bool), 2).tolist()
    [0, 0, 1, 1]
    """
    owners = owners.copy()
    counts = np.bincount(owners[~empty], minlength=parts).tolist()
    heap = [(count, part) for part, count in enumerate(counts)]
    heapq.heapify(heap)
    for row in np.flatnonzero(empty):
        count, part = heap[0]
        owners[row] = part
        heapq.heapreplace(heap, (count + 1, part))
    return owners


def assign_inputs(layer: Layer, rows: Owners, parts: int) -> Owners:
    """Owners of inputs that are still open: each goes to a part that reads it, evenly.

    Wherever among its readers an input is, it is sent to all others; so only balance decides.

    Arguments:
        layer: ``[outputs, inputs]``.
        rows: int32 ``[outputs]``, the part of every row.
    """
    reads = readers_of(layer, rows, parts)
    options = np.diff(reads.indptr)
    readers, bounds = reads.indices.tolist(), reads.indptr.tolist()
    load = [0] * parts
    owners = np.empty(layer.inputs, np.int32)
    # Those with the fewest readers first: they have the least choice. Unread ones fill up.
    for column in np.argsort(np.where(options > 0, options, parts + 1), kind="stable").tolist():
        choice = readers[bounds[column] : bounds[column + 1]] or range(parts)
        part = min(choice, key=load.__getitem__)
        owners[column] = part
        load[part] += 1
    return owners
