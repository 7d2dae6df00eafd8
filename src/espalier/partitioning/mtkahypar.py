"""The partitioner: Mt-KaHyPar, deterministic, with the parts as vertices that it may not move.

Source: L. Gottesbueren, T. Heuer, P. Sanders and others, "Scalable High-Quality Hypergraph
Partitioning", ACM TALG 2024; the library `mtkahypar` (MIT licence).
"""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import EspalierError, MissingExtraError
from espalier.partitioning.hypergraph import Hypergraph, Ints

OBJECTIVE_EPSILON = 0.03


def cut_hypergraph(graph: Hypergraph, limits: Ints, seed: int) -> NDArray[np.int32]:
    """The part of every vertex.

    Arguments:
        graph: with vertices of any weight.
        limits: int64 ``[parts]``, the most that the vertices of each part may weigh.

    Returns:
        int32 ``[vertices]``; where the limits cannot be kept, as near as it came.

    Raises:
        MissingExtraError: mtkahypar is not installed.
    """
    library, kahypar = _library()
    parts, vertices = len(limits), graph.vertices
    # A fixed vertex of weight 0 would be ignored, so that each part weighs 1 more than its rows;
    # rows are made heavy enough for that not to matter to the limits.
    scale = 1 + parts
    weights = np.concatenate([np.maximum(graph.weights, 0) * scale, np.ones(parts, np.int64)])
    nets = [
        moved + held
        for moved, held in zip(
            _lists(graph.pins, graph.offsets),
            _lists(vertices + graph.fixed, graph.fixed_offsets),
            strict=True,
        )
    ]
    context = kahypar.context_from_preset(library.PresetType.DETERMINISTIC)
    context.set_partitioning_parameters(parts, OBJECTIVE_EPSILON, library.Objective.KM1)
    context.logging = False
    context.set_individual_target_block_weights((limits * scale + scale - 1).tolist())
    library.set_seed(seed)
    hypergraph = kahypar.create_hypergraph(
        context, vertices + parts, len(nets), nets, weights.tolist(), graph.costs.tolist()
    )
    hypergraph.add_fixed_vertices([-1] * vertices + list(range(parts)), parts)
    found = np.array(hypergraph.partition(context).get_partition(), np.int32)
    if not np.array_equal(found[vertices:], np.arange(parts)):
        raise EspalierError(
            "mtkahypar moved vertices that were fixed; please report this with the versions that "
            "'espalier info' prints"
        )
    return found[:vertices]


@cache
def _library() -> tuple[Any, Any]:
    try:
        import mtkahypar
    except ImportError as error:
        raise MissingExtraError("mtkahypar", "partition", "method 'hypergraph'") from error
    return mtkahypar, mtkahypar.initialize(len(os.sched_getaffinity(0)))


def _lists(pins: Ints, offsets: Ints) -> list[list[int]]:
    numbers, bounds = pins.tolist(), offsets.tolist()
    return [numbers[a:b] for a, b in pairwise(bounds)]
