"""Which kernel runs each layer, and which layers run together in shared memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from espalier.inference.gpu.cost import RESIDENT_SLOTS, GpuCost
from espalier.inference.gpu.segments import (
    LayerSegment,
    ResidentSegment,
    Segment,
    shared_bytes,
)
from espalier.inference.row_blocks import choose_groups
from espalier.kernels import RowBlocks
from espalier.network import Layer

_RESERVED = 1 << 10  # shared memory the kernel itself and the driver use


def checkpoints() -> Iterator[int]:
    """Numbers of layers behind which dead and finished samples leave: 1, 2, 3, 4, 6, 8, 12 ...

    >>> from itertools import islice
    >>> list(islice(checkpoints(), 9))
    [1, 2, 3, 4, 6, 8, 12, 16, 24]
    """
    yield 1
    power = 2
    while True:
        yield power
        yield power + power // 2
        power *= 2


@dataclass
class Chooser:
    """Cuts layers, fed in order, into segments.

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

    def segments(self, layers: Iterable[Layer]) -> Iterator[Segment]:
        """The segments; none reaches over a checkpoint."""
        stops = checkpoints()
        stop = next(stops)
        together: list[Layer] = []
        begin = slots = 0
        for index, layer in enumerate(layers):
            if index == stop:
                stop = next(stops)
                yield from self._close(begin, together, slots)
            groups, alone = self._groups(layer)
            if together and self._joins(layer, together, slots, alone):
                together.append(layer)
                continue
            yield from self._close(begin, together, slots)
            best = self._best_slots(layer, alone)
            if best:
                begin, slots = index, best
                together.append(layer)
            else:
                yield LayerSegment(index, layer, groups)
        yield from self._close(begin, together, slots)

    def _close(self, begin: int, together: list[Layer], slots: int) -> Iterator[Segment]:
        if together:
            yield ResidentSegment(begin, list(together), slots)
            together.clear()

    def _groups(self, layer: Layer) -> tuple[RowBlocks, float]:
        if self.group:
            return choose_groups(layer, self.cost, self.tile)
        seconds = self.cost.rows_seconds(layer.nonzeros, layer.inputs, self.tile)
        return RowBlocks.none(), float(seconds)

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
