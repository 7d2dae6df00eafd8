"""The weights of a plan on the device: all of them, or two segments at a time while they stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, cycle, pairwise
from typing import Any, TypeAlias

from espalier.cuda import Device, Event
from espalier.inference.gpu.segments import Segment
from espalier.simplify.invariants import EarlyExits

Placed = tuple[Segment, int]


class HeldWeights:
    """All segments on the device, copied there once."""

    resident = True

    def __init__(
        self, device: Device, segments: list[Segment], exits: EarlyExits, stream: int
    ) -> None:
        self._memory = device.allocate(sum(segment.shape.bytes for segment in segments))
        self._placed: list[Placed] = []
        base = self._memory.address
        for segment in segments:
            device.copy_in(base, segment.image(base, exits), stream)
            self._placed.append((segment, base))
            base += segment.shape.bytes
        device.synchronize(stream)

    def walk(self, stream: int) -> Iterator[Placed]:
        """Every segment and where it lies."""
        yield from self._placed

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free()


class StreamedWeights:
    """Two halves of memory: while one segment multiplies, the next is copied into the other.

    Arguments:
        segments: gives all segments anew for each run.
        largest: bytes of the largest segment.
    """

    resident = False

    def __init__(
        self,
        device: Device,
        segments: Callable[[], Iterable[Segment]],
        largest: int,
        exits: EarlyExits,
    ) -> None:
        self._device, self._segments, self._exits = device, segments, exits
        self._memory = device.allocate(2 * largest)
        self._halves = [self._memory.address, self._memory.address + largest]
        self._copies = device.stream_for(self)
        self._copied = [Event(device), Event(device)]
        self._used = [Event(device), Event(device)]

    def walk(self, stream: int) -> Iterator[Placed]:
        """Every segment once it is there; the next one is on its way meanwhile.

        The caller gives a segment's work to `stream` before it takes the next one.
        """
        for used in self._used:  # what ran before may still read both halves
            used.record(stream)
        copies: Iterator[Any] = (
            (segment, self._copy(segment, half), half)
            for segment, half in zip(self._segments(), cycle((0, 1)), strict=False)
        )
        # As pairs: the next copy is begun before a segment is handed over.
        for (segment, base, half), _ in pairwise(chain(copies, [None])):
            self._copied[half].wait_in(stream)
            yield segment, base
            self._used[half].record(stream)

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free()

    def _copy(self, segment: Segment, half: int) -> int:
        base = self._halves[half]
        self._used[half].wait_in(self._copies)
        self._device.copy_in(base, segment.image(base, self._exits), self._copies)
        self._copied[half].record(self._copies)
        return base


Weights: TypeAlias = "HeldWeights | StreamedWeights"
