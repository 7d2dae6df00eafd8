"""Which kernel runs each layer, and which layers run together in shared memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from espalier.inference.gpu.cost import RESIDENT_SLOTS, GpuCost
from espalier.inference.gpu.segments import (
    LayerSegment,
    ResidentSegment,
    Segment,
    shared_bytes,
)
from espalier.inference.program import Program, SegmentShape
from espalier.inference.row_blocks import choose_row_blocks
from espalier.network import Layer

_RESERVED = 1 << 10  # shared memory the kernel itself and the driver use


def is_checkpoint(layers: int) -> bool:
    """Whether dead and finished samples leave behind so many layers: 1, 2, 3, 4, 6, 8, 12 ...

    >>> [layers for layers in range(1, 30) if is_checkpoint(layers)]
    [1, 2, 3, 4, 6, 8, 12, 16, 24]
    """
    return layers // (layers & -layers) in (1, 3)


def samples_move(program: GpuProgram, segment: SegmentShape, drop: bool) -> bool:
    """Whether samples that are done leave behind a segment.

    They do so at checkpoints, and where a block may have stopped early and left its outputs
    unwritten.
    """
    if segment.end == program.depth:
        return False  # whatever is done leaves at the end
    exits, last = program.exits, segment.end - 1
    may_leave = (drop and exits.zero[last]) or exits.saturated[last]
    return bool(may_leave and (is_checkpoint(segment.end) or segment.depth > 1))


@dataclass(frozen=True)
class Fuser:
    """Packs layers, fed in order, into segments of one layer or of several in shared memory.

    Arguments:
        shared: bytes of shared memory a block may have.
        tile: samples side by side in a panel.
        group: whether rows that share columns become blocks.
        resident: whether activations may stay in shared memory.
    """

    shared: int
    tile: int
    group: bool = True
    resident: bool = True
    cost: GpuCost = field(default_factory=GpuCost)

    def pack(self, layers: Iterable[Layer]) -> Iterator[tuple[SegmentShape, Segment]]:
        """The segments; none reaches over a checkpoint."""
        return ((segment.shape, segment) for segment in self._segments(layers))

    def _segments(self, layers: Iterable[Layer]) -> Iterator[Segment]:
        together: list[Layer] = []
        begin = slots = 0
        for index, layer in enumerate(layers):
            row_blocks, alone = choose_row_blocks(layer, self.cost, self.tile, self.group)
            if together:
                if not is_checkpoint(index) and self._joins(layer, together, slots, alone):
                    together.append(layer)
                    continue
                yield ResidentSegment(begin, together, slots)
                together = []
            best = self._best_slots(layer, alone)
            if best:
                begin, slots, together = index, best, [layer]
            else:
                yield LayerSegment(index, layer, row_blocks)
        if together:
            yield ResidentSegment(begin, together, slots)

    def _joins(self, layer: Layer, together: list[Layer], slots: int, alone: float) -> bool:
        """Whether the layer may follow those in shared memory."""
        fits = shared_bytes([*together, layer], slots)[0] <= self.shared - _RESERVED
        return fits and self.cost.resident_seconds(layer, slots) < alone + self.cost.launch

    def _resident_cost(self, layer: Layer, slots: int) -> float:
        """What a layer costs there, with its way there and back where no other can follow."""
        seconds = self.cost.resident_seconds(layer, slots)
        both = 4 * slots * (layer.inputs + layer.outputs)
        return seconds if both <= self.shared - _RESERVED else seconds + self.cost.step(layer)

    def _best_slots(self, layer: Layer, alone: float) -> int:
        """Samples of a block at which the layer is cheapest in shared memory, 0 if nowhere."""
        if not self.resident:
            return 0
        fitting = [
            slots
            for slots in RESIDENT_SLOTS
            if slots <= self.tile and layer.inputs * slots * 4 <= self.shared - _RESERVED
        ]
        best = min(fitting, key=lambda each: self._resident_cost(layer, each), default=0)
        if not best:
            return 0
        return best if self.cost.resident_seconds(layer, best) < alone + self.cost.launch else 0


GpuProgram: TypeAlias = "Program[Fuser, Segment]"
