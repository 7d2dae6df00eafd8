"""The plan for a GPU: the face of a program whose layers are packed for the device's kernels."""

from __future__ import annotations

from typing import Any, Literal

from espalier.cuda import Device
from espalier.inference.gpu.execute import execute
from espalier.inference.gpu.fuse import Fuser, GpuProgram
from espalier.inference.gpu.result import GpuResult
from espalier.inference.gpu.workspace import DeviceMemory
from espalier.inference.options import Filter, Options, check_choice, check_memory
from espalier.inference.program import build_program
from espalier.network import Network
from espalier.progress import Progress

DeviceOutput = Literal["dense", "csr", "device"]
DEVICE_OUTPUTS: tuple[DeviceOutput, ...] = ("dense", "csr", "device")
TILE = 64


class GpuPlan:
    """A network compiled for a GPU; make one with ``compile(network, device="cuda")``.

    Attributes:
        device: the GPU it runs on.
        program: what compiling found and packed.
        memory: budget in bytes on the device, or None.
    """

    def __init__(
        self,
        network: Network,
        options: Options,
        device: Device,
        memory: int | None = None,
        progress: Progress | None = None,
        tile: int = TILE,
        resident: bool = True,
    ) -> None:
        self.device = device
        self.memory = None if memory is None else check_memory(memory)
        fuser = Fuser(device.shared_bytes, tile, options.group, resident)
        self.program: GpuProgram = build_program(
            network, options, lambda layers: fuser, check_memory(None), progress
        )
        self._on_device = DeviceMemory(device, self.program, self.memory)

    def run(
        self,
        x: Any,
        filter: Filter = "zero",
        *,
        output: DeviceOutput = "dense",
        stream: Any = None,
        progress: Progress | None = None,
    ) -> GpuResult:
        """Run all samples through the network.

        Arguments:
            x: ``[samples, inputs]``: numpy, scipy sparse, or float32 on this GPU (CuPy, torch,
                whatever has ``__cuda_array_interface__``; CuPy's CSR too), which is read in place.
            filter: as in `Plan.run`; ``"unique"`` does the same as ``"zero"`` on a GPU.
            output: kind of ``result.activations``: numpy, scipy CSR, or an array on the device.
            stream: to work on, of torch or CuPy or a number; by default the one on which the
                caller made a device array, else the plan's own.
            progress: called as ``progress(done, total)`` after each batch of samples.

        Raises:
            InputError: samples that do not fit, or an unknown option.
            DeviceMemoryError: the GPU's memory does not hold two steps and some samples.
            DeviceError: x lies on another device, or the GPU failed.
        """
        check_choice("output", output, DEVICE_OUTPUTS)
        return execute(self._on_device, x, filter, output, stream, progress)

    def release(self) -> None:
        """Give the plan's memory on the device back; the next run takes it again."""
        self._on_device.release()

    @property
    def network(self) -> Network:
        return self.program.network

    @property
    def tile(self) -> int:
        """Samples side by side in a panel."""
        return self.program.packer.tile

    @property
    def saturated(self) -> float | None:
        """The value a sample at the fixed point is full of: the last layer's clip."""
        return self.program.exits.clip

    @property
    def stream(self) -> int:
        """The plan's own stream."""
        return self._on_device.stream

    @property
    def resident(self) -> bool:
        """Whether all weights were on the device at the last run."""
        return self._on_device.resident

    @property
    def compile_seconds(self) -> float:
        """How long compiling took, without copying weights to the device."""
        return self.program.compile_seconds

    def describe(self) -> str:
        """What compiling found and chose, in a few lines."""
        segments, tile = self.program.segments, self.tile
        together = [segment.depth for segment in segments if segment.depth > 1]
        return self.program.describe(
            f"for {self.device!r}",
            f"{len(segments)} steps of {sum(segment.bytes for segment in segments):,} bytes; "
            f"{sum(together)} layers share {len(together)} of them; tile {tile} samples; "
            f"{self.program.blocks:,} blocks of rows that share columns",
        )

    def __repr__(self) -> str:
        return f"GpuPlan({self.network!r}, {self.device!r}, tile={self.tile})"
