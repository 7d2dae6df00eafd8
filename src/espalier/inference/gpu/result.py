"""What a run on a GPU returns and counts: a `Result`, with times by the device's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.cuda.arrays import DeviceArray
from espalier.inference.counters import Counters
from espalier.inference.gpu.fuse import GpuProgram
from espalier.inference.result import Result


@dataclass(frozen=True)
class DeviceSeconds:
    """Seconds between events on the device, added up over batches.

    Attributes:
        load: copying samples there and putting them into panels.
        layers: all layers, and moving samples together.
        store: putting the last activations in order, and copying those of the host.
    """

    load: float
    layers: float
    store: float


@dataclass
class GpuResult(Result):
    """The outcome of `GpuPlan.run`.

    Attributes:
        device_seconds: where the time went, by events on the device.
        on_device: the activations where the run was asked for ``output="device"``.
    """

    device_seconds: DeviceSeconds = DeviceSeconds(0.0, 0.0, 0.0)
    on_device: DeviceArray | None = None

    @cached_property
    def activations(self) -> Any:
        """Final activations ``[samples, outputs]``: numpy, scipy CSR, or a `DeviceArray`."""
        return super().activations if self.on_device is None else self.on_device


def count_batch(
    counters: Counters,
    program: GpuProgram,
    sample_state: NDArray[np.int32],
    counts: NDArray[np.int32],
    processed: NDArray[np.int32],
    moves_before: NDArray[np.int64],
) -> None:
    """Count a batch by what the device kept of it.

    Arguments:
        sample_state: of each sample, as `compact.cu` codes it.
        counts: living slots at first and after each move, that is, each time samples left.
        processed: per layer, as resident segments counted.
        moves_before: per layer, how many moves were before it.
    """
    together = np.concatenate([[s.depth > 1] * s.depth for s in program.segments])
    entered = counts[moves_before].astype(np.int64)
    done = np.where(together, processed, entered)
    left = counts[np.minimum(moves_before + 1, len(counts) - 1)]
    counters.processed += done
    counters.operations += int(done @ program.multiply_adds)
    counters.live_operations += int(np.minimum(done, left) @ program.multiply_adds)
    finished = (sample_state < 0) & (sample_state % 2 == 0)
    move = (-sample_state[finished].astype(np.int64) - 2) // 2
    behind = np.searchsorted(moves_before, move, side="right")  # layers it took part in
    counters.rows_saved["fixed point"] += int(finished.sum())
    counters.sample_layers_saved["fixed point"] += int((program.depth - behind).sum())
