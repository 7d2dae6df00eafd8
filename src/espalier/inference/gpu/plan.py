"""Compile a network into a plan for a GPU: reduced and proven as on the CPU, then cut up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from espalier.cuda import Device
from espalier.errors import DeviceMemoryError
from espalier.inference.gpu.early_exit import Glances
from espalier.inference.gpu.execute import GpuExecution
from espalier.inference.gpu.fuse import Chooser, checkpoints
from espalier.inference.gpu.memory_plan import Fit, Widths, fit
from espalier.inference.gpu.result import GpuResult
from espalier.inference.gpu.segments import Ends, Outline, Segment
from espalier.inference.gpu.weights import HeldWeights, StreamedWeights
from espalier.inference.gpu.workspace import Workspace
from espalier.inference.options import Filter, check_choice, check_memory
from espalier.network import Layer, Network
from espalier.progress import Progress
from espalier.simplify.fold import Expansion
from espalier.simplify.invariants import Invariants, find_invariants, holds_from
from espalier.simplify.simplifier import Savings, Simplifier

if TYPE_CHECKING:
    from espalier.inference.plan import Options

DeviceOutput = Literal["dense", "csr", "device"]
DEVICE_OUTPUTS: tuple[DeviceOutput, ...] = ("dense", "csr", "device")
TILE = 64
_TRIES = 4
_PART_OF_FREE = 0.9  # of the memory free on the device, where no budget is given


class GpuPlan:
    """A network compiled for a GPU; make one with ``compile(network, device="cuda")``.

    Attributes:
        network: the network it came from.
        device: the GPU it runs on.
        tile: samples side by side in a panel.
        outline: its segments, without their weights.
        compile_seconds: how long compiling took, without copying weights to the device.
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
        start = perf_counter()
        self.network, self.options, self.device = network, options, device
        self.memory = None if memory is None else check_memory(memory)
        self.tile = tile
        self._chooser = Chooser(device.shared_bytes, tile, options.group, resident)
        self.proofs: list[Invariants] = []
        self.widths: list[int] = []
        self._held: list[Segment] | None = []
        self.outline: list[Outline] = []
        self._compile(progress)
        self.stream = device.lend_stream(self)
        self.ends = self._find_ends()
        self._checkpoints = set(itertools.takewhile(lambda at: at < self.depth, checkpoints()))
        self._buffers = self._find_buffers()
        self.glances = Glances(device)
        self._weights: HeldWeights | StreamedWeights | None = None
        self._workspace: Workspace | None = None
        self.compile_seconds = perf_counter() - start

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
        return GpuExecution(self, x, filter, output, stream, progress).run()

    def prepare(self, samples: int) -> tuple[Workspace, HeldWeights | StreamedWeights]:
        """Memory on the device for so many samples, kept from one run to the next.

        Where the device has less than it said, less is taken at a time.
        """
        if self._workspace is not None and self._weights is not None:
            if samples <= self._workspace.slots or self._workspace.limited:
                return self._workspace, self._weights
            self.release()
        budget = self.memory or int(self.device.free_bytes() * _PART_OF_FREE)
        for tried in range(1, _TRIES + 1):
            sizes = self.segment_bytes, samples, self.tile, self.input_width
            chosen = fit(budget, self._buffers, *sizes)
            try:
                return self._take(chosen, limited=chosen.slots < samples)
            except DeviceMemoryError:
                self.release()
                if tried == _TRIES:
                    raise
                budget = budget * 3 // 4
        raise AssertionError("unreachable")

    def release(self) -> None:
        """Give the plan's memory on the device back; the next run takes it again."""
        for held in (self._workspace, self._weights):
            if held is not None:
                held.free()
        self._workspace = self._weights = None

    @property
    def segment_bytes(self) -> list[int]:
        """Bytes of the weights of each segment."""
        return [segment.bytes for segment in self.outline]

    @property
    def depth(self) -> int:
        """Layers after reduction."""
        return len(self.proofs)

    @property
    def resident(self) -> bool:
        """Whether all weights were on the device at the last run."""
        return self._weights is None or self._weights.resident

    @property
    def saturated(self) -> float | None:
        """The value a sample at the fixed point is full of: the last layer's clip."""
        return self.proofs[-1].clip

    @property
    def blocks(self) -> int:
        """Blocks of rows that share columns."""
        return sum(segment.blocks for segment in self.outline)

    def segments(self) -> Iterable[Segment]:
        """All segments in order, packed anew where the host could not hold them."""
        if self._held is not None:
            return self._held
        return self._chooser.segments(self._reduced(Simplifier(*self._reductions)))

    def moves_behind(self, segment: Outline, drop: bool) -> bool:
        """Whether samples that are done leave behind a segment: at checkpoints, and where a block
        may have stopped early and left its outputs unwritten."""
        end = segment.begin + segment.depth
        if end == self.depth:
            return False  # whatever is done leaves at the end
        may_leave = (drop and self.ends.droppable[end - 1]) or self.ends.frozen[end - 1]
        return bool(may_leave and (end in self._checkpoints or segment.depth > 1))

    def describe(self) -> str:
        """What compiling found and chose, in a few lines."""
        savings, total = self.savings, sum(self.segment_bytes)
        together = [segment.depth for segment in self.outline if segment.depth > 1]
        return "\n".join(
            [
                f"{self.depth} layers, widths {min(self.widths)} to {max(self.widths)}, for "
                f"{self.device!r}; compiled in {self.compile_seconds:.3g} s",
                f"connections {savings.connections_before:,} -> {savings.connections_after:,}: "
                f"{savings.merged:,} neurons and {savings.inputs_merged:,} inputs merged, "
                f"{savings.constant:,} constant, {savings.unread:,} unread",
                f"{len(self.outline)} steps of {total:,} bytes; {sum(together)} layers share "
                f"{len(together)} of them; tile {self.tile} samples; {self.blocks:,} blocks of "
                "rows that share columns",
                f"proven: zero stays zero in {sum(p.zero_stays_zero for p in self.proofs)} layers, "
                "saturated stays saturated in "
                f"{sum(p.saturated_stays_saturated for p in self.proofs)} layers",
            ]
        )

    def __repr__(self) -> str:
        return f"GpuPlan({self.network!r}, {self.device!r}, tile={self.tile})"

    @property
    def _reductions(self) -> tuple[bool, bool]:
        return self.options.merge, self.options.fold

    def _compile(self, progress: Progress | None) -> None:
        decomposition = Simplifier(*self._reductions)
        held, budget = 0, check_memory(None)
        for segment in self._chooser.segments(self._reduced(decomposition, progress)):
            held += segment.outline.bytes
            if self._held is not None:
                self._held.append(segment)
                if held > budget:
                    self._held = None
            self.outline.append(segment.outline)
        self.savings: Savings = decomposition.savings
        assert decomposition.expansion is not None
        self.expansion: Expansion = decomposition.expansion

    def _reduced(
        self, decomposition: Simplifier, progress: Progress | None = None
    ) -> Iterator[Layer]:
        total = len(self.network)
        first = not self.proofs
        for done, layer in enumerate(decomposition.simplify(self.network), 1):
            if first:
                if done == 1:
                    self.input_width = layer.inputs
                self.proofs.append(find_invariants(layer))
                self.widths.append(layer.outputs)
            if progress is not None:
                progress(min(done, total), total)
            yield layer

    def _find_ends(self) -> Ends:
        dead = holds_from([proof.zero_stays_zero for proof in self.proofs])
        clip = self.saturated
        full = holds_from([p.saturated_stays_saturated and p.clip == clip for p in self.proofs])
        frozen = full[1:] & self.options.fixed_point & (clip is not None)
        return Ends(dead[1:], frozen, np.nan if clip is None else clip)

    def _find_buffers(self) -> Widths:
        """Buffers for runs with and without the zero filter."""
        runs = [
            Widths.of(self.outline, [self.moves_behind(each, drop) for each in self.outline])
            for drop in (False, True)
        ]
        return Widths(max(run.first for run in runs), max(run.second for run in runs))

    def _take(self, chosen: Fit, limited: bool) -> tuple[Workspace, HeldWeights | StreamedWeights]:
        self._workspace = Workspace(
            self.device, chosen, self._buffers, self.depth, len(self.outline), limited
        )
        if chosen.resident:
            segments = list(self.segments())
            self._weights = HeldWeights(self.device, segments, self.ends, self.stream)
        else:
            largest = max(self.segment_bytes)
            self._weights = StreamedWeights(self.device, self.segments, largest, self.ends)
        return self._workspace, self._weights
