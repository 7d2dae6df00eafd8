"""One run of a program on a GPU: batch by batch, segment by segment, without waiting in between.

The host only gives work to the stream: dead and finished samples leave on the device, and kernels
read there how many are left. Between segments it asks, without waiting, whether any are left at
all. At the end of a batch it waits once, for what came out.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, Event, arguments
from espalier.cuda.arrays import DeviceArray, as_stream
from espalier.errors import InputError
from espalier.inference.counters import Counters
from espalier.inference.gpu.fuse import GpuProgram, samples_move
from espalier.inference.gpu.result import DeviceSeconds, GpuResult, count_batch
from espalier.inference.gpu.segments import Io
from espalier.inference.gpu.upload import PanelWriter, SampleSource, read_samples
from espalier.inference.gpu.weights import Weights
from espalier.inference.gpu.workspace import DeviceMemory, SurvivorPoll, Workspace
from espalier.inference.options import FILTERS, Filter, check_choice
from espalier.inference.result import Batch, Outputs
from espalier.inference.row_map import SATURATED, ZERO, RowMap, Rows
from espalier.progress import Progress

_BAD_SAMPLE, _OVERFLOW = 1, 2
_THREADS = 256
_WARP = 32
_GATHER_BLOCKS = 64  # across the neurons of a panel
_EXPAND_ROWS = 65_535


@dataclass(frozen=True)
class Run:
    """What all batches of a run share."""

    program: GpuProgram
    device: Device
    stream: int
    samples: SampleSource
    drops: bool
    workspace: Workspace
    weights: Weights
    poll: SurvivorPoll
    counters: Counters
    outputs: DeviceOutputs | None

    def launch(self, kernel: str, grid: tuple[int, int], argument: Any) -> None:
        """Give a kernel to the stream."""
        self.device.launch(kernel, grid, _THREADS, argument, self.stream)


@dataclass
class BatchState:
    """Where a batch lies on the device.

    Attributes:
        slots: of its samples, in whole panels.
        width: neurons of its activations.
        side: which of the two buffers holds them.
        moves: how often samples moved together, each time into the other list of samples.
    """

    slots: int
    width: int
    side: int = 0
    moves: int = 0

    @property
    def blocks(self) -> tuple[int, int]:
        """A grid with a thread for each slot."""
        return -(-self.slots // _THREADS), 1


def execute(
    memory: DeviceMemory,
    x: Any,
    filter: Filter,
    output: str,
    stream: Any,
    progress: Progress | None,
) -> GpuResult:
    """Check the samples, carry them through the network, find their categories."""
    check_choice("filter", filter, FILTERS)
    start = perf_counter()
    run = begin_run(memory, x, filter != "none", output == "device", stream)
    program, count = run.program, run.samples.count
    times, batches = np.zeros(3), []
    for first in range(0, count, run.workspace.slots):
        last = min(first + run.workspace.slots, count)
        batch, seconds = run_batch(run, first, last)
        batches.append(batch)
        times += seconds
        if progress is not None:
            progress(last * program.depth, count * program.depth)
    if not count and progress is not None:
        progress(0, 0)
    outputs = Outputs(batches, program.expansion, program.exits.clip)
    categories = outputs.categories()
    report = run.counters.report(
        program,
        filter,
        seconds=perf_counter() - start,
        categories=len(categories),
        threads=1,
        instruction_set=f"{run.device.architecture}, on the GPU",
    )
    spent = DeviceSeconds(*(float(each) for each in times))
    whole = None if run.outputs is None else run.outputs.array
    return GpuResult(categories, outputs, report, output == "csr", spent, whole)


def begin_run(memory: DeviceMemory, x: Any, drops: bool, keep_outputs: bool, stream: Any) -> Run:
    """Find the samples, the stream to work on, and memory on the device."""
    device, program = memory.device, memory.program
    usual = memory.stream if stream is None else as_stream(stream)
    samples = read_samples(x, program.inputs, device, usual)
    theirs = samples.stream
    used = usual if stream is not None or theirs is None else theirs
    if theirs is not None and theirs != used:
        ready = Event(device)
        ready.record(theirs)
        ready.wait_in(used)
    counters = Counters(program.depth, samples.count)
    outputs = DeviceOutputs(device, program, samples.count, used) if keep_outputs else None
    workspace, weights = memory.prepare(samples.count)
    return Run(
        *(program, device, used, samples, drops),
        *(workspace, weights, memory.poll, counters, outputs),
    )


def run_batch(run: Run, first: int, last: int) -> tuple[Batch, list[float]]:
    """Carry some samples through all layers; those that are done leave between segments."""
    begun, loaded, multiplied, stored = run.workspace.events
    begun.record(run.stream)
    state = load(run, first, last)
    loaded.record(run.stream)
    moves_before = multiply(run, state)
    move_together(run, state, drop=True, freeze=bool(run.program.exits.saturated[-1]))
    settle(run, state)
    multiplied.record(run.stream)
    if run.outputs is not None:
        run.outputs.expand(run, state, first, last)
    check_status(run)
    batch = fetch(run, state, last - first, moves_before)
    stored.record(run.stream)
    run.device.synchronize(run.stream)
    times = (begun, loaded), (loaded, multiplied), (multiplied, stored)
    return batch, [later.seconds_since(earlier) for earlier, later in times]


def load(run: Run, first: int, last: int) -> BatchState:
    """Put samples into their slots and panels."""
    workspace, tile, count = run.workspace, run.program.packer.tile, last - first
    state = BatchState(-(-count // tile) * tile, run.program.inputs)
    run.device.clear(*workspace.counters, run.stream)
    argument = arguments.Begin(
        sample=workspace.samples[0],
        sample_state=workspace.sample_state,
        count=workspace.counts,
        samples=count,
    )
    run.launch("begin", (-(-count // _THREADS), 1), argument)
    panels = PanelWriter(run.device, workspace, tile, run.program.inputs, run.stream)
    run.samples.load(panels, first, last)
    run.poll.begin()
    return state


def multiply(run: Run, state: BatchState) -> NDArray[np.int64]:
    """All segments; gives, for each layer, how often samples had moved before it."""
    program, workspace, exits = run.program, run.workspace, run.program.exits
    moves_before: list[int] = []
    for segment, base in run.weights.walk(run.stream):
        shape = segment.shape
        moves_before += [state.moves] * shape.depth
        if run.poll.none_is_left():
            continue
        moves = samples_move(program, shape, run.drops)
        flags_read = moves or shape.end == program.depth
        if flags_read:
            run.device.clear(workspace.flags, 4 * state.slots, run.stream)
        io = Io(
            x=workspace.buffers[state.side],
            y=workspace.buffers[1 - state.side],
            count=workspace.counts + 4 * state.moves,
            flags=workspace.flags,
            status=workspace.status,
            processed=workspace.processed,
            slots=state.slots,
            tile=program.packer.tile,
            drop=run.drops,
            flags_read=flags_read,
        )
        segment.launch(run.device, base, exits, io, run.stream)
        state.side, state.width = 1 - state.side, shape.outputs
        if moves:
            drop = run.drops and bool(exits.zero[shape.end - 1])
            move_together(run, state, drop, freeze=bool(exits.saturated[shape.end - 1]))
            run.poll.ask(workspace.counts + 4 * state.moves, run.stream)
    return np.array(moves_before, np.int64)


def move_together(run: Run, state: BatchState, drop: bool, freeze: bool) -> None:
    """Samples that are done leave; the others move together into the other buffer."""
    workspace = run.workspace
    argument = arguments.Compact(
        count=workspace.counts + 4 * state.moves,
        count_after=workspace.counts + 4 * (state.moves + 1),
        flags=workspace.flags,
        sample=workspace.samples[state.moves % 2],
        sample_after=workspace.samples[1 - state.moves % 2],
        source=workspace.source,
        sample_state=workspace.sample_state,
        survivors=workspace.survivors,
        drop=drop,
        freeze=freeze,
        moves=state.moves,
    )
    for kernel in ("count_survivors", "place_survivors"):
        run.launch(kernel, state.blocks, argument)
    state.moves += 1
    moved = arguments.Gather(
        x=workspace.buffers[state.side],
        y=workspace.buffers[1 - state.side],
        count=workspace.counts + 4 * state.moves,
        source=workspace.source,
        width=state.width,
        tile=run.program.packer.tile,
    )
    across = min(-(-state.width // (_THREADS // _WARP)), _GATHER_BLOCKS)
    run.launch("gather", (across, state.slots // _WARP), moved)
    state.side = 1 - state.side


def settle(run: Run, state: BatchState) -> None:
    """Every sample that is left gets its last slot."""
    workspace = run.workspace
    argument = arguments.Compact(
        count=workspace.counts + 4 * state.moves,
        sample=workspace.samples[state.moves % 2],
        sample_state=workspace.sample_state,
    )
    run.launch("settle", state.blocks, argument)


def check_status(run: Run) -> None:
    """Raise what the kernels found wrong."""
    (status,) = run.device.read(run.workspace.status, 1, np.int32, run.stream)
    if status & _BAD_SAMPLE:
        raise run.samples.name_bad()
    if status & _OVERFLOW:
        raise InputError(
            "activations grow beyond what float32 holds; scale x or the weights down, or give "
            "the layers a clip"
        )


def fetch(run: Run, state: BatchState, count: int, moves_before: NDArray[np.int64]) -> Batch:
    """What became of all samples; rows of those left, unless they stay on the device."""
    workspace, device, program = run.workspace, run.device, run.program
    found = device.read(workspace.sample_state, count, np.int32, run.stream)
    counts = device.read(workspace.counts, state.moves + 1, np.int32, run.stream)
    processed = device.read(workspace.processed, program.depth, np.int32, run.stream)
    count_batch(run.counters, program, found, counts, processed, moves_before)
    of_sample = np.where(found >= 0, found, np.where(found % 2, ZERO, SATURATED)).astype(np.int64)
    left = int(counts[-1])
    rows = np.empty((left if run.outputs is None else 0, program.widths[-1]), np.float32)
    if rows.size:
        target = workspace.buffers[1 - state.side]
        argument = arguments.StoreRows(
            panels=workspace.buffers[state.side],
            rows=target,
            count=workspace.counts + 4 * state.moves,
            width=state.width,
            tile=program.packer.tile,
        )
        run.launch("store_rows", (-(-state.width // _WARP), -(-left // _WARP)), argument)
        device.copy_out(rows, target, run.stream)
    index = np.arange(left, dtype=np.int64)
    return Batch(RowMap(of_sample), Rows(rows, index), np.ones(left, bool))


class DeviceOutputs:
    """Memory on the device for all activations, and how outputs come back from units."""

    def __init__(self, device: Device, program: GpuProgram, samples: int, stream: int) -> None:
        expansion = program.expansion
        self._width = len(expansion.unit)
        memory = device.allocate(4 * samples * self._width)
        self._address = memory.address
        self.array = DeviceArray(device, memory, (samples, self._width), np.float32, stream)
        uploaded = device.upload([expansion.unit, expansion.constant], stream)
        self._memory, (self._unit, self._constant) = uploaded

    def expand(self, run: Run, state: BatchState, first: int, last: int) -> None:
        """The activations of a batch, from its panels."""
        clip = run.program.exits.clip
        argument = arguments.Expand(
            panels=run.workspace.buffers[state.side],
            y=self._address + 4 * first * self._width,
            sample_state=run.workspace.sample_state,
            unit=self._unit,
            constant=self._constant,
            saturated=np.nan if clip is None else clip,
            samples=last - first,
            outputs=self._width,
            width=state.width,
            tile=run.program.packer.tile,
        )
        run.launch(
            "expand", (-(-self._width // _THREADS), min(last - first, _EXPAND_ROWS)), argument
        )
