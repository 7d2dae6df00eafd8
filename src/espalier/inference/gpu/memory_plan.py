"""How much of a network and of its samples a GPU's memory takes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.errors import DeviceMemoryError
from espalier.inference.program import SegmentShape

# Fewer samples at a time than this leave a large GPU idle; then streaming weights is better.
GOOD_BATCH = 4096
MOST_SLOTS = 65_535 * 32  # the second extent of a grid, whose blocks take 32 samples or more
SLOT_BYTES = 4 * 6  # flags, two lists of samples, source, sample state, survivors
STAGING_BYTES = 64 << 20
_ENTRY_BYTES = 12  # the most a non-zero of a sample takes


@dataclass(frozen=True)
class BufferWidths:
    """The widest activations that each of the two buffers must take, in numbers per sample."""

    first: int
    second: int

    @classmethod
    def of(cls, segments: Sequence[SegmentShape], moves: Sequence[bool]) -> BufferWidths:
        """What a run needs that moves the samples behind the marked segments, and at the end."""
        held = [segments[0].inputs, 0]
        side = 0
        for segment, moved in zip(segments, moves, strict=True):
            for _ in range(2 if moved else 1):
                side = 1 - side
                held[side] = max(held[side], segment.outputs)
        return cls(*(max(each, segments[-1].outputs) for each in held))

    @property
    def bytes(self) -> int:
        """Of one slot, with what is kept of it beside its activations."""
        return 4 * (self.first + self.second) + SLOT_BYTES


@dataclass(frozen=True)
class MemoryPlan:
    """What is on the device at a time.

    Attributes:
        slots: samples, in whole panels.
        resident: whether all weights are there, else two segments at a time.
        staging: bytes for samples on their way to the panels.
    """

    slots: int
    resident: bool
    staging: int


def plan_memory(
    budget: int,
    widths: BufferWidths,
    segment_bytes: Sequence[int],
    samples: int,
    tile: int,
    inputs: int,
) -> MemoryPlan:
    """Choose what is on the device: all weights where enough samples go with them.

    Arguments:
        budget: bytes free for the plan.
        segment_bytes: of each segment's weights.
        samples: as many as there are to run.
        inputs: width of a sample.

    Raises:
        DeviceMemoryError: not even two segments and one panel of samples fit.

    >>> widths = BufferWidths(100, 100)
    >>> plan_memory(10_000_000, widths, [1000, 2000], samples=500, tile=64, inputs=9)
    MemoryPlan(slots=512, resident=True, staging=1250000)
    >>> plan_memory(10_000_000, widths, [4_000_000] * 3, samples=500, tile=64, inputs=9)
    MemoryPlan(slots=512, resident=False, staging=1250000)
    """
    wanted = -(-max(samples, 1) // tile) * tile
    panel = tile * (inputs * _ENTRY_BYTES + 8) + 64
    staging = max(min(STAGING_BYTES, budget // 8), panel)
    left = budget - staging
    every, pair = sum(segment_bytes), 2 * max(segment_bytes)
    with_all = _slots(left - every, widths, tile)
    with_pair = _slots(left - pair, widths, tile)
    resident = with_all >= min(wanted, GOOD_BATCH) or every <= pair
    slots = min(wanted, with_all if resident else with_pair, MOST_SLOTS // tile * tile)
    if slots < tile:
        least = min(every, pair) + tile * widths.bytes + staging
        raise DeviceMemoryError(
            f"the GPU has {_mebibytes(budget)} for this plan; two steps of the network and "
            f"{tile} samples need {_mebibytes(least)}: {_mebibytes(least - budget)} are missing. "
            "Free memory there, raise memory=, or run on the CPU"
        )
    return MemoryPlan(slots, resident, staging)


def _slots(size: int, widths: BufferWidths, tile: int) -> int:
    return max(size, 0) // (widths.bytes * tile) * tile


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.2f} MiB"
