"""What a run on a GPU returns: a `Result`, with times by the device's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from espalier.cuda.arrays import DeviceArray
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
        if self.on_device is not None:
            return self.on_device
        return self.outputs.csr() if self.sparse else self.outputs.dense()
