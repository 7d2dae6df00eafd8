"""One run of a plan on a GPU: batch by batch, segment by segment, without waiting in between."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from espalier.cuda import Event, arguments
from espalier.cuda.arrays import DeviceArray, as_stream
from espalier.errors import InputError
from espalier.inference.deduplicate import SATURATED, ZERO, Rows, Slots
from espalier.inference.gpu.counters import GpuAccount
from espalier.inference.gpu.early_exit import Glance
from espalier.inference.gpu.result import DeviceSeconds, GpuResult
from espalier.inference.gpu.segments import Io
from espalier.inference.gpu.upload import read_samples
from espalier.inference.gpu.weights import HeldWeights, StreamedWeights
from espalier.inference.gpu.workspace import Workspace
from espalier.inference.options import FILTERS, Filter, check_choice
from espalier.inference.result import Batch, Outputs
from espalier.progress import Progress

if TYPE_CHECKING:
    from espalier.inference.gpu.plan import GpuPlan

_BAD_SAMPLE, _OVERFLOW = 1, 2
_THREADS = 256
_WARP = 32
_GATHER_BLOCKS = 64  # across the neurons of a panel
_EXPAND_ROWS = 65_535


class GpuExecution:
    """Carries the samples of one run through the plan.

    The host only gives work to the stream: dead and finished samples leave on the device, and
    kernels read there how many are left. Between segments it looks, without waiting, whether any
    are left at all. At the end of a batch it waits once, for what came out.
    """

    def __init__(
        self,
        plan: GpuPlan,
        x: Any,
        filter: Filter,
        output: str,
        stream: Any,
        progress: Progress | None,
    ) -> None:
        check_choice("filter", filter, FILTERS)
        self.start = perf_counter()
        self.plan, self.device, self.tile = plan, plan.device, plan.tile
        self.filter, self.output, self.progress = filter, output, progress
        self.drop = filter != "none"
        asked = None if stream is None else as_stream(stream)
        usual = plan.stream if asked is None else asked
        self.samples = read_samples(x, plan.input_width, plan.device, usual)
        theirs = self.samples.stream
        self.stream = usual if asked is not None or theirs is None else theirs
        if theirs is not None and theirs != self.stream:
            ready = Event(self.device)
            ready.record(theirs)
            ready.wait_in(self.stream)
        self.account = GpuAccount(plan, self.samples.count, filter)
        self.on_device: DeviceArray | None = None

    def run(self) -> GpuResult:
        """The whole run."""
        count, plan = self.samples.count, self.plan
        if self.output == "device":
            self._prepare_outputs()
        space, weights = plan.prepare(count)
        times = np.zeros(3)
        batches = []
        for start in range(0, count, space.slots):
            stop = min(start + space.slots, count)
            batch, seconds = self._run_batch(space, weights, start, stop)
            batches.append(batch)
            times += seconds
            if self.progress is not None:
                self.progress(stop * plan.depth, count * plan.depth)
        if not count and self.progress is not None:
            self.progress(0, 0)
        outputs = Outputs(batches, plan.expansion, plan.saturated)
        categories = outputs.categories()
        report = self.account.report(perf_counter() - self.start, len(categories))
        return GpuResult(
            categories,
            outputs,
            report,
            self.output == "csr",
            DeviceSeconds(*(float(each) for each in times)),
            self.on_device,
        )

    def _run_batch(
        self, space: Workspace, weights: HeldWeights | StreamedWeights, start: int, stop: int
    ) -> tuple[Batch, list[float]]:
        self.space, self.side, self.turn, self.order = space, 0, 0, 0
        begun, loaded, multiplied, stored = space.events
        begun.record(self.stream)
        self._begin(start, stop)
        loaded.record(self.stream)
        turns = self._multiply(weights)
        self._move(drop=True, freeze=bool(self.plan.ends.frozen[-1]))
        self._settle(stop - start)
        multiplied.record(self.stream)
        if self.on_device is not None:
            self._expand(start, stop)
        self._check_status()
        batch = self._fetch(stop - start, turns)
        stored.record(self.stream)
        self.device.synchronize(self.stream)
        moments = begun, loaded, multiplied, stored
        pairs = zip(moments[1:], moments[:-1], strict=True)
        return batch, [later.seconds_since(earlier) for later, earlier in pairs]

    def _begin(self, start: int, stop: int) -> None:
        """Put samples into their slots and panels."""
        space, device = self.space, self.device
        device.clear(*space.counters, self.stream)
        argument = arguments.Begin(
            sample=space.samples[0], fate=space.fate, count=space.counts, samples=stop - start
        )
        blocks = -(-(stop - start) // _THREADS)
        device.launch("begin", (blocks, 1), _THREADS, argument, self.stream)
        self.slots = -(-(stop - start) // self.tile) * self.tile
        self.samples.load(device, space, start, stop, self.tile, self.stream)
        self.width = self.plan.input_width

    def _multiply(self, weights: HeldWeights | StreamedWeights) -> list[int]:
        """All segments; returns, for each layer, how often samples had moved before it."""
        space, plan = self.space, self.plan
        turns: list[int] = []
        glance = Glance(self.plan.glances, self.stream)
        for segment, base in weights.walk(self.stream):
            outline = segment.outline
            turns += [self.turn] * outline.depth
            if glance.nobody_is_left():
                continue
            moves = plan.moves_behind(outline, self.drop)
            asked = moves or outline.begin + outline.depth == plan.depth
            if asked:
                self.device.clear(space.notes, 4 * self.slots, self.stream)
            io = Io(
                x=space.buffers[self.side],
                y=space.buffers[1 - self.side],
                count=space.counts + 4 * self.turn,
                notes=space.notes,
                status=space.status,
                processed=space.processed,
                slots=self.slots,
                tile=self.tile,
                drop=self.drop,
                asked=asked,
            )
            segment.launch(self.device, base, plan.ends, io, self.stream)
            self.side, self.width = 1 - self.side, outline.outputs
            if moves:
                behind = outline.begin + outline.depth - 1
                drop = self.drop and bool(plan.ends.droppable[behind])
                self._move(drop=drop, freeze=bool(plan.ends.frozen[behind]))
                glance.look(space.counts + 4 * self.turn)
        return turns

    def _move(self, drop: bool, freeze: bool) -> None:
        """Samples that are done leave; the others move together into the other buffer."""
        space, device = self.space, self.device
        argument = arguments.Compact(
            count=space.counts + 4 * self.turn,
            count_after=space.counts + 4 * (self.turn + 1),
            notes=space.notes,
            sample=space.samples[self.order],
            sample_after=space.samples[1 - self.order],
            source=space.source,
            fate=space.fate,
            survivors=space.survivors,
            drop=drop,
            freeze=freeze,
            turn=self.turn,
        )
        grid = -(-self.slots // _THREADS), 1
        for kernel in ("survivors", "place"):
            device.launch(kernel, grid, _THREADS, argument, self.stream)
        self.turn, self.order = self.turn + 1, 1 - self.order
        moved = arguments.Gather(
            x=space.buffers[self.side],
            y=space.buffers[1 - self.side],
            count=space.counts + 4 * self.turn,
            source=space.source,
            width=self.width,
            tile=self.tile,
        )
        across = min(-(-self.width // (_THREADS // _WARP)), _GATHER_BLOCKS)
        device.launch("gather", (across, self.slots // _WARP), _THREADS, moved, self.stream)
        self.side = 1 - self.side

    def _settle(self, count: int) -> None:
        """Every sample that is left gets its last slot."""
        space = self.space
        argument = arguments.Compact(
            count=space.counts + 4 * self.turn, sample=space.samples[self.order], fate=space.fate
        )
        grid = -(-count // _THREADS), 1
        self.device.launch("settle", grid, _THREADS, argument, self.stream)

    def _check_status(self) -> None:
        status = np.zeros(1, np.int32)
        self.device.copy_out(status, self.space.status, self.stream)
        if status[0] & _BAD_SAMPLE:
            raise self.samples.name_bad()
        if status[0] & _OVERFLOW:
            raise InputError(
                "activations grow beyond what float32 holds; scale x or the weights down, or give "
                "the layers a clip"
            )

    def _fetch(self, count: int, turns: list[int]) -> Batch:
        """Fates of all samples; rows of those that are left, unless they stay on the device."""
        space, device = self.space, self.device
        fate, counts = np.empty(count, np.int32), np.empty(self.turn + 1, np.int32)
        processed = np.empty(self.plan.depth, np.int32)
        device.copy_out(fate, space.fate, self.stream)
        device.copy_out(counts, space.counts, self.stream)
        device.copy_out(processed, space.processed, self.stream)
        self.account.add_batch(fate, counts, processed, turns)
        of_sample = np.where(fate >= 0, fate, np.where(fate % 2, ZERO, SATURATED)).astype(np.int64)
        left = int(counts[-1])
        rows = np.empty((left if self.on_device is None else 0, self.plan.widths[-1]), np.float32)
        if rows.size:
            target = space.buffers[1 - self.side]
            argument = arguments.StoreRows(
                panels=space.buffers[self.side],
                rows=target,
                count=space.counts + 4 * self.turn,
                width=self.width,
                tile=self.tile,
            )
            grid = -(-self.width // _WARP), -(-left // _WARP)
            device.launch("store_rows", grid, _THREADS, argument, self.stream)
            device.copy_out(rows, target, self.stream)
        index = np.arange(left, dtype=np.int64)
        return Batch(Slots(of_sample), Rows(rows, index), np.ones(left, bool))

    def _prepare_outputs(self) -> None:
        """Memory on the device for all activations, and how outputs come back from units."""
        plan, device = self.plan, self.device
        shape = self.samples.count, len(plan.expansion.unit)
        memory = device.allocate(4 * shape[0] * shape[1])
        self._outputs_at = memory.address
        self.on_device = DeviceArray(device, memory, shape, np.float32, self.stream)
        self._expansion = device.allocate(8 * shape[1])
        device.copy_in(self._expansion.address, plan.expansion.unit, self.stream)
        constants = self._expansion.address + 4 * shape[1]
        device.copy_in(constants, plan.expansion.constant, self.stream)

    def _expand(self, start: int, stop: int) -> None:
        plan, space = self.plan, self.space
        outputs = len(plan.expansion.unit)
        argument = arguments.Expand(
            panels=space.buffers[self.side],
            y=self._outputs_at + 4 * start * outputs,
            fate=space.fate,
            unit=self._expansion.address,
            constant=self._expansion.address + 4 * outputs,
            saturated=plan.ends.saturated,
            samples=stop - start,
            outputs=outputs,
            width=self.width,
            tile=self.tile,
        )
        grid = -(-outputs // _THREADS), min(stop - start, _EXPAND_ROWS)
        self.device.launch("expand", grid, _THREADS, argument, self.stream)
