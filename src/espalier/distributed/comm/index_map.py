"""Where every neuron between two layers lives: its part, and its place among that part's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.world import World
from espalier.network import Network
from espalier.partitioning import Partition


@dataclass(frozen=True)
class IndexMap:
    """The neurons between two layers, shared out.

    Attributes:
        part: int32 ``[neurons]``, the owner of each.
        place: int32 ``[neurons]``, where its activations lie among those of its owner; neurons
            that are proven equal share a place.
        counts: int64 ``[parts]``, places of each part.
    """

    part: NDArray[np.int32]
    place: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls, owners: NDArray[np.int32], parts: int, units: Sequence[NDArray[np.int32]] | None = None
    ) -> IndexMap:
        """The map that owners make.

        Arguments:
            owners: int32 ``[neurons]``, the part of each.
            units: for each part, the place of each of its neurons in rising order; None for a
                place each.

        >>> index_map = IndexMap.of(np.array([1, 0, 1], np.int32), parts=2)
        >>> index_map.place.tolist(), index_map.counts.tolist()
        ([0, 0, 1], [1, 2])
        """
        place = np.empty(len(owners), np.int32)
        counts = np.zeros(parts, np.int64)
        order = np.argsort(owners, kind="stable")
        bounds = np.searchsorted(owners[order], np.arange(parts + 1))
        for part in range(parts):
            mine = order[bounds[part] : bounds[part + 1]]
            place[mine] = np.arange(len(mine)) if units is None else units[part]
            counts[part] = len(mine) if units is None else units[part].max(initial=-1) + 1
        return cls(owners, place, counts)

    @property
    def parts(self) -> int:
        """Among how many the neurons are shared out."""
        return len(self.counts)

    def neurons(self, part: int) -> NDArray[np.int64]:
        """The neurons of a part, rising."""
        return np.flatnonzero(self.part == part)


Placement = IndexMap  # an alias


def check_owners(owners: Sequence[NDArray[np.int32]], network: Network, world: World) -> None:
    """Refuse owners that do not fit the network and the parts, or differ from another rank's."""
    partition = Partition(world.parts, owners, "given")
    partition.check(network)
    world.agree("the partition", partition.fingerprint)
