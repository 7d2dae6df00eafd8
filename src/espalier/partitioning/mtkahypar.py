"""The partitioner: Mt-KaHyPar, deterministic, with the parts as vertices that it may not move.

Source: L. Gottesbueren, T. Heuer, N. Maas, P. Sanders and S. Schlag, "Scalable High-Quality
Hypergraph Partitioning", ACM TALG 2024; the library `mtkahypar` (MIT licence).
"""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from espalier.errors import EspalierError, MissingExtraError
from espalier.partitioning.hypergraph import Hypergraph, Ints, Owners

# Only the limits of the single parts count; the library still wants a number for all.
EPSILON = 0.03
MAX_TOTAL = 1 << 30  # of vertex weights, which the library adds up in 32 bits


def partition_hypergraph(graph: Hypergraph, limits: Ints, seed: int) -> Owners:
    """The part of every vertex.

    Arguments:
        graph: parts that no net joins are no vertices of the problem; any block may then become
            part 0.
        limits: int64 ``[parts]``, the most that the vertices of each part may weigh.
        seed: equal seeds give equal partitions, on any number of threads.

    Returns:
        int32 ``[vertices]``; where the limits cannot be kept, as near as it came.

    Raises:
        MissingExtraError: mtkahypar is not installed.
    """
    problem = _Problem(graph, limits, seed)
    return problem.owners(problem.hypergraph.partition(problem.context))


def improve_partition(graph: Hypergraph, vertices: Owners, limits: Ints, seed: int) -> Owners:
    """Move single vertices of a partition to where they save words.

    Arguments:
        graph: whose nets join parts.
        vertices: int32 ``[vertices]``, the partition to start from, within its limits.
    """
    problem = _Problem(graph, limits, seed)
    start = vertices[np.argsort(problem.order)].tolist() + list(range(problem.terminals))
    partitioned = problem.hypergraph.create_partitioned_hypergraph(
        problem.context, len(limits), start
    )
    partitioned.improve_partition(problem.context, 1)
    return problem.owners(partitioned)


class _Problem:
    """A hypergraph as the library wants it, behind its vertices those of the parts."""

    def __init__(self, graph: Hypergraph, limits: Ints, seed: int) -> None:
        library, kahypar = _library()
        self.vertices, parts = graph.vertices, len(limits)
        self.order = _shuffled(self.vertices, seed)  # the place of every vertex
        self.terminals = parts if len(graph.fixed) else 0
        weights, limits = _narrowed(graph.weights, limits)
        weights = weights[np.argsort(self.order)]
        if self.terminals:
            # A fixed vertex of weight 0 would be ignored, and one as heavy as a row keeps rows
            # from gathering around it: each weighs 1, and rows a multiple of more than that.
            scale = max(1, min(parts + 1, MAX_TOTAL // max(int(weights.sum()), 1)))
            weights = np.append(weights * scale, np.ones(parts, np.int64))
            limits = limits * scale + max(1, scale - 1)
        self.context = kahypar.context_from_preset(library.PresetType.DETERMINISTIC)
        self.context.set_partitioning_parameters(parts, EPSILON, library.Objective.KM1)
        self.context.set_individual_target_block_weights(limits.tolist())
        self.context.logging = False
        library.set_seed(0)
        self.hypergraph = kahypar.create_hypergraph(
            self.context,
            len(weights),
            graph.nets,
            _nets(graph, self.order),
            weights.tolist(),
            graph.costs.tolist(),
        )
        if self.terminals:
            fixed = [-1] * self.vertices + list(range(parts))
            self.hypergraph.add_fixed_vertices(fixed, parts)

    def owners(self, partitioned: Any) -> Owners:
        found = np.array(partitioned.get_partition(), np.int32)
        if not np.array_equal(found[self.vertices :], np.arange(self.terminals)):
            raise EspalierError(
                "mtkahypar moved vertices that were fixed; please report this with its version"
            )
        return found[self.order]


@cache
def _library() -> tuple[Any, Any]:
    try:
        import mtkahypar
    except ImportError as error:
        raise MissingExtraError("mtkahypar", "partition", "method 'hypergraph'") from error
    return mtkahypar, mtkahypar.initialize(len(os.sched_getaffinity(0)))


def _narrowed(weights: Ints, limits: Ints) -> tuple[Ints, Ints]:
    """Weights and limits in the largest unit that loses nothing, or else one that fits."""
    unit = max(int(np.gcd.reduce(weights)), 1)
    if int(weights.sum()) > unit * MAX_TOTAL:
        unit = -(-int(weights.sum()) // MAX_TOTAL)
    return -(-weights // unit), limits // unit


def _shuffled(vertices: int, seed: int) -> Ints:
    """The library's seed decides nothing in its deterministic mode; the order of vertices does."""
    if not seed:
        return np.arange(vertices)
    return np.argsort(np.random.PCG64(seed).random_raw(vertices), kind="stable")


def _nets(graph: Hypergraph, order: Ints) -> list[list[int]]:
    movable = _lists(order[graph.pins], graph.offsets)
    if not len(graph.fixed):
        return movable
    fixed = _lists(graph.vertices + graph.fixed, graph.fixed_offsets)
    return [rows + parts for rows, parts in zip(movable, fixed, strict=True)]


def _lists(pins: Ints, offsets: Ints) -> list[list[int]]:
    numbers, bounds = pins.tolist(), offsets.tolist()
    return [numbers[a:b] for a, b in pairwise(bounds)]
