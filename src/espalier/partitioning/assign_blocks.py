"""Which block of a cut is which part: an assignment, which has an exact answer.

Source: the words that stay at home are a linear assignment of blocks to parts; D. F. Crouse, "On
implementing 2D rectangular assignment algorithms", IEEE TAES 2016, is what scipy solves it with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from espalier.partitioning.balance import owned_words
from espalier.partitioning.hypergraph import Hypergraph

Owners = NDArray[np.int32]


def name_blocks(graph: Hypergraph, blocks: Owners, parts: int) -> Owners:
    """Call every block the part that owns most of what the block reads.

    Arguments:
        graph: whose nets join the parts that own their columns.
        blocks: int32 ``[vertices]``, the block of every vertex; blocks are as many as parts and
            all have the same limits.

    Returns:
        int32 ``[vertices]``, the parts, named for the fewest words sent.
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


def one_each(graph: Hypergraph, parts: int) -> Owners:
    """No more vertices than parts, one for each, for the fewest words sent."""
    kept = owned_words(graph, parts, np.arange(graph.vertices))
    vertices = np.empty(graph.vertices, np.int32)
    rows, chosen = linear_sum_assignment(kept, maximize=True)
    vertices[rows] = chosen
    return vertices
