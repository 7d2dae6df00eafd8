"""Segments: the layers that one step of a run multiplies, packed into one blob of bytes.

A blob moves to the device in one copy, so a network that does not fit there is streamed segment
by segment. Where it lies is known only then: addresses are filled in on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, arguments
from espalier.inference.gpu.pack import (
    SLICE_ROWS,
    pack_blocks,
    pack_rows,
    pack_slices,
    rows_alone,
)
from espalier.inference.program import SegmentShape
from espalier.kernels import RowBlocks
from espalier.network import Layer
from espalier.simplify.invariants import EarlyExits

_ALIGNMENT = 256
_ROWS_WARPS, _ROWS_OF_WARP, _BLOCKS_WARPS, _RESIDENT_WARPS = 8, 4, 4, 16
_WARP = 32
_QUAD = 4


@dataclass(frozen=True)
class Io:
    """Where a segment reads and writes in one run; all are addresses on the device.

    Attributes:
        count: how many slots are alive.
        flags: bits that the kernels set for each slot.
        slots: capacity, in whole panels.
        processed: for each layer of the plan, samples a resident segment multiplied.
        drop: whether dead samples may stop early.
        flags_read: whether the flags of this segment are read.
    """

    x: int
    y: int
    count: int
    flags: int
    status: int
    processed: int
    slots: int
    tile: int
    drop: bool
    flags_read: bool


class Blob:
    """Arrays gathered into one run of bytes."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint8]] = []
        self.bytes = 0

    def add(self, array: NDArray[np.generic]) -> int:
        """Append an array; returns where it starts."""
        start = self.bytes
        padding = -array.nbytes % _ALIGNMENT
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._parts += [flat, np.zeros(padding, np.uint8)]
        self.bytes += array.nbytes + padding
        return start

    def joined(self) -> NDArray[np.uint8]:
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint8)


class LayerSegment:
    """One layer over the panels in global memory: rows alone, blocks of rows, or both."""

    def __init__(self, begin: int, layer: Layer, row_blocks: RowBlocks) -> None:
        self.lower, self.upper = layer.bounds
        blob = Blob()
        self._bias = blob.add(layer.bias)
        alone = pack_rows(layer, rows_alone(layer, row_blocks))
        self._row_count = len(alone.rows)
        self._rows = [blob.add(array) for array in alone] if self._row_count else []
        block_count, cost = 0, len(alone.entries)
        self._blocks: list[int] = []
        if len(row_blocks.rows):
            blocks = pack_blocks(layer, row_blocks)
            block_count = len(blocks.rows)
            cost += blocks.weights.size
            self._blocks = [blob.add(array) for array in blocks]
        self._image = blob.joined()
        sizes = layer.inputs, layer.outputs, blob.bytes
        self.shape = SegmentShape(begin, 1, *sizes, block_count, (cost,))

    def image(self, base: int, exits: EarlyExits) -> NDArray[np.uint8]:
        """The bytes to copy to `base`."""
        return self._image

    def launch(self, device: Device, base: int, exits: EarlyExits, io: Io, stream: int) -> None:
        """Multiply, once the bytes are at `base`."""
        epilogue = arguments.Epilogue(
            bias=base + self._bias,
            lower=self.lower,
            upper=self.upper,
            saturated=_saturated(exits),
            flags=io.flags if io.flags_read else None,
            status=io.status,
        )
        panels = io.slots // io.tile
        common: dict[str, Any] = {"x": io.x, "y": io.y, "count": io.count, "epilogue": epilogue}
        common |= {"inputs": self.shape.inputs, "outputs": self.shape.outputs}
        if self._row_count:
            offsets, entries, rows = (base + each for each in self._rows)
            argument = arguments.Rows(
                offsets=offsets, entries=entries, rows=rows, row_count=self._row_count, **common
            )
            across = -(-self._row_count // (_ROWS_WARPS * _ROWS_OF_WARP))
            device.launch(
                f"rows_{io.tile}", (across, panels), _ROWS_WARPS * _WARP, argument, stream
            )
        if self._blocks:
            offsets, columns, weights, rows = (base + each for each in self._blocks)
            blocks = arguments.Blocks(
                offsets=offsets,
                columns=columns,
                weights=weights,
                rows=rows,
                block_count=self.shape.blocks,
                **common,
            )
            across = -(-self.shape.blocks // _BLOCKS_WARPS)
            device.launch(
                f"blocks_{io.tile}", (across, panels), _BLOCKS_WARPS * _WARP, blocks, stream
            )


class ResidentSegment:
    """Several layers over activations in shared memory, `slots` samples to a block."""

    def __init__(self, begin: int, layers: list[Layer], slots: int) -> None:
        self.slots = slots
        self.shared, self._second = shared_bytes(layers, slots)
        blob = Blob()
        self._descriptors = np.zeros(len(layers), np.dtype(arguments.ResidentLayer))
        blob.add(self._descriptors)
        costs = []
        for layer, descriptor in zip(layers, self._descriptors, strict=True):
            packed = pack_slices(layer)
            descriptor["slice_offsets"] = blob.add(packed.offsets)
            descriptor["entries"] = blob.add(packed.entries)
            descriptor["bias"] = blob.add(layer.bias)
            descriptor["lower"], descriptor["upper"] = layer.bounds
            descriptor["outputs"] = layer.outputs
            costs.append(packed.entries.size)
        units = -(-max(layer.outputs for layer in layers) // SLICE_ROWS) * slots // _QUAD
        self._warps = min(max(units, 1), _RESIDENT_WARPS)
        self._image = blob.joined()
        sizes = layers[0].inputs, layers[-1].outputs, blob.bytes
        self.shape = SegmentShape(begin, len(layers), *sizes, 0, tuple(costs))

    def image(self, base: int, exits: EarlyExits) -> NDArray[np.uint8]:
        """The bytes to copy to `base`, with the addresses that follow from it."""
        placed = self._descriptors.copy()
        for name in ("slice_offsets", "entries", "bias"):
            placed[name] += np.uint64(base)
        here = slice(self.shape.begin, self.shape.end)
        placed["droppable"] = exits.zero[here]
        placed["saturated"] = np.where(exits.saturated[here], _saturated(exits), np.nan)
        image = self._image.copy()
        image[: placed.nbytes] = placed.view(np.uint8)
        return image

    def launch(self, device: Device, base: int, exits: EarlyExits, io: Io, stream: int) -> None:
        """Multiply, once the bytes are at `base`."""
        argument = arguments.Resident(
            x=io.x,
            y=io.y,
            count=io.count,
            layers=base,
            flags=io.flags,
            processed=io.processed + 4 * self.shape.begin,
            status=io.status,
            depth=self.shape.depth,
            inputs=self.shape.inputs,
            tile=io.tile,
            second=self._second,
            drop=io.drop,
        )
        name, threads = f"resident_{self.slots}", self._warps * _WARP
        device.launch(name, (io.slots // self.slots, 1), threads, argument, stream, self.shared)


Segment: TypeAlias = LayerSegment | ResidentSegment


def shared_bytes(layers: list[Layer], slots: int) -> tuple[int, int]:
    """Shared memory of a resident segment, and the numbers in the first of its two buffers.

    >>> shared_bytes([Layer([[1.0, 1.0]], 0.0), Layer([[1.0]], 0.0)], slots=32)
    (384, 64)
    """
    first = max(layer.inputs for layer in layers[::2]) * slots
    second = max((layer.inputs for layer in layers[1::2]), default=0) * slots
    return 4 * (first + second), first


def _saturated(exits: EarlyExits) -> float:
    """The value that a finished sample is full of; NaN, which nothing equals, if there is none."""
    return np.nan if exits.clip is None else exits.clip
