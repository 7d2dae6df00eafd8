"""What a layer costs on a GPU, by kernel: a model of its caches, not a measurement.

Figures are cycles of one multiprocessor per sample. They decide which kernel runs; they can never
change a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.inference.cost import Counts
from espalier.inference.gpu.pack import BLOCK_ROWS, SLICE_ROWS
from espalier.network import Layer

RESIDENT_SLOTS = (32, 16, 8, 4)
_ENTRY_BYTES = 8


@dataclass(frozen=True)
class GpuCost:
    """The rates of one multiprocessor, per cycle.

    Arguments:
        l2_bytes: bytes the second-level cache delivers to it.
        l1_bytes: bytes its first-level cache or shared memory delivers.
        multiply_adds: float32 multiply-adds.
        l1_size: bytes of first-level cache that a panel's activations may use.
        conflicts: by slots of a resident block, how many times longer shared memory takes since
            rows beside each other read different places.
        launch: what a step of its own costs a layer, shared by some thousand living samples.
    """

    l2_bytes: float = 24.0
    l1_bytes: float = 128.0
    multiply_adds: float = 128.0
    l1_size: int = 128 << 10
    conflicts: tuple[float, ...] = (1.25, 1.5, 2.1, 2.7)
    launch: float = 250.0

    def rows_seconds(self, nonzeros: Counts, width: int, tile: int) -> NDArray[np.float64]:
        """Weights in rows of their own: one activation is loaded for each."""
        in_l1 = width * tile * 4 <= self.l1_size
        loaded = 4.0 / (self.l1_bytes if in_l1 else self.l2_bytes)
        return np.asarray(nonzeros) * (loaded + _ENTRY_BYTES / tile / self.l1_bytes)

    def block_seconds(
        self, heights: Counts, columns: Counts, width: int, tile: int
    ) -> NDArray[np.float64]:
        """Blocks of `heights` rows that share `columns` columns: sixteen rows for one load."""
        blocks = -(-np.asarray(heights) // BLOCK_ROWS)
        multiplied = BLOCK_ROWS / self.multiply_adds
        broadcast = BLOCK_ROWS * 4 / tile / self.l1_bytes * 32
        loaded = 4.0 / self.l2_bytes
        each = max(multiplied, loaded) + broadcast / 4
        return np.asarray(blocks * np.asarray(columns) * each, np.float64)

    def step(self, layer: Layer) -> float:
        """What a step of its own adds: its launch, and activations through global memory."""
        return self.launch + 4.0 * (layer.inputs + layer.outputs) / self.l2_bytes

    def resident_seconds(self, layer: Layer, slots: int) -> float:
        """A layer over activations in shared memory; slices are as long as their longest row."""
        counts = np.diff(layer.row_offsets)
        padded = np.append(counts, np.zeros(-layer.outputs % SLICE_ROWS, np.int64))
        steps = padded.reshape(-1, SLICE_ROWS).max(axis=1, initial=0).sum()
        conflicts = self.conflicts[RESIDENT_SLOTS.index(slots)]
        read = 4.0 * conflicts / self.l1_bytes
        weights = _ENTRY_BYTES / slots / self.l2_bytes
        return float(steps) * SLICE_ROWS * max(read, weights)
