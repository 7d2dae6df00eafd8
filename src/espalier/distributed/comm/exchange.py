"""Who sends what to whom between two layers: fixed once, used in every step.

Forward, the owner of an activation sends it to every part whose rows read it ("expand").
Backward, each of those sends its partial sum of the gradient back, and the owner adds them up in
the order of parts ("fold"): the same pairs, the same words, the other way. No index travels.

A part sees the neurons of a boundary as one array, its own first, behind them those it receives,
by source and by place.

Source: G. V. Demirci and H. Ferhatosmanoglu, "Partitioning Sparse Deep Neural Networks for
Scalable Training and Inference", ICS 2021, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.index_map import IndexMap

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Exchange:
    """What one part sends and receives before one layer.

    Attributes:
        part: whose exchange this is.
        local: neurons it owns.
        gives: for each part, the places among its own neurons whose activations it sends there.
        takes: for each part, the places among that part's neurons that it receives, rising.
    """

    part: int
    local: int
    gives: tuple[Places, ...]
    takes: tuple[Places, ...]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where what comes from each part starts in this part's array; one more for the end."""
        counts = [len(places) for places in self.takes]
        return self.local + np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def width(self) -> int:
        """Neurons this part sees: its own, then those it receives."""
        return int(self.starts[-1])

    @property
    def words_sent(self) -> int:
        """Activations sent for one sample."""
        return sum(map(len, self.gives))

    @property
    def words_received(self) -> int:
        """Activations received for one sample."""
        return self.width - self.local

    @property
    def messages_sent(self) -> int:
        """Parts it sends something to."""
        return sum(len(places) > 0 for places in self.gives)

    @property
    def messages_received(self) -> int:
        """Parts it receives something from."""
        return sum(len(places) > 0 for places in self.takes)

    @cached_property
    def outbox(self) -> Places:
        """The places that any part receives, each once, rising."""
        return np.unique(np.concatenate([*self.gives, np.empty(0, np.int64)]))


def find_takes(
    columns: NDArray[np.integer], index_map: IndexMap, part: int
) -> tuple[NDArray[np.int32], tuple[Places, ...]]:
    """What a part must receive to read these neurons, and where it then finds each of them.

    Arguments:
        columns: neurons of the boundary that the part's rows read, in any order and number.
        index_map: of the boundary.

    Returns:
        int32 ``[neurons]``, the index of each neuron in the part's own array (0 for those it
        never reads); and the places to take from each part.

    >>> index_map = IndexMap.of(np.array([0, 1, 1, 0], np.int32), parts=2)
    >>> index, takes = find_takes(np.array([3, 2]), index_map, part=0)
    >>> index[[3, 2]].tolist(), [each.tolist() for each in takes]
    ([1, 2], [[], [1]])
    """
    read = np.zeros(len(index_map.part), bool)
    read[columns] = True
    foreign = np.flatnonzero(read & (index_map.part != part))
    most = max(int(index_map.counts.max(initial=0)), 1)
    # By source and, within that, by place.
    keys = index_map.part[foreign].astype(np.int64) * most + index_map.place[foreign]
    wanted, where = np.unique(keys, return_inverse=True)
    index = np.where(index_map.part == part, index_map.place, 0).astype(np.int32)
    index[foreign] = index_map.counts[part] + where
    bounds = np.searchsorted(wanted, np.arange(index_map.parts + 1) * most)
    takes = tuple(wanted[a:b] % most for a, b in pairwise(bounds))
    return index, takes


def exchanges_of(takes: Sequence[tuple[Places, ...]], index_map: IndexMap) -> list[Exchange]:
    """The exchanges of all parts, from what each must receive."""
    return [
        Exchange(
            part,
            int(index_map.counts[part]),
            gives=tuple(takes[other][part] for other in range(index_map.parts)),
            takes=takes[part],
        )
        for part in range(index_map.parts)
    ]
