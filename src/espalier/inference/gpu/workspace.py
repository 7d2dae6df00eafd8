"""The memory of a plan on the device: buffers of activations, what is kept of samples, weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, Event
from espalier.errors import DeviceMemoryError
from espalier.inference.gpu.fuse import GpuProgram, samples_move
from espalier.inference.gpu.memory_plan import BufferWidths, MemoryPlan, plan_memory
from espalier.inference.gpu.weights import HeldWeights, StreamedWeights, Weights

_ALIGNMENT = 256
_TRIES = 4
_PART_OF_FREE = 0.9  # of the memory free on the device, where no budget is given


class Workspace:
    """Where everything of a run lies; all attributes but the first four are addresses.

    Attributes:
        slots: samples at a time, in whole panels.
        limited: whether the device's memory, not the caller, set that number.
        staging_bytes: of memory for samples on their way to the panels.
        events: four moments to take times from.
        buffers: two, of activations.
        flags: bits that the kernels set for each slot.
        samples: two lists of whose slot each is, before and after samples moved.
        source: the old slot of each new one.
        sample_state: the slot of each sample, or what became of it.
        survivors: by blocks of slots, how many stay.
        counts: living slots at first and after each time samples moved.
        processed: samples that resident segments multiplied, by layer.
        status: bits of what went wrong.
        counters: all three, and their bytes.
        staging: memory for samples on their way to the panels.
    """

    def __init__(
        self,
        device: Device,
        chosen: MemoryPlan,
        widths: BufferWidths,
        program: GpuProgram,
        limited: bool,
    ) -> None:
        self.slots, self.limited, slots = chosen.slots, limited, chosen.slots
        self.staging_bytes = chosen.staging
        self.events = [Event(device) for _ in range(4)]
        per_slot = [widths.first, widths.second, 1, 1, 1, 1, 1, 1]
        sizes = [4 * slots * each for each in per_slot]
        sizes += [4 * (len(program.segments) + 2), 4 * program.depth, 4, chosen.staging]
        offsets = [0]
        for size in sizes:
            offsets.append(offsets[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
        self._memory = device.allocate(offsets[-1])
        at = [self._memory.address + offset for offset in offsets]
        self.buffers = at[0], at[1]
        self.flags = at[2]
        self.samples = at[3], at[4]
        self.source, self.sample_state, self.survivors = at[5:8]
        self.counts, self.processed, self.status = at[8:11]
        self.counters = at[8], offsets[11] - offsets[8]
        self.staging = at[11]

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free()


class SurvivorPoll:
    """Asks the device how many samples of a batch are left, and goes on until the answer comes."""

    def __init__(self, device: Device) -> None:
        self._device, self._event = device, Event(device)
        self._count: NDArray[np.int32] = device.allocate_pinned(1)
        self._asked = self._empty = False

    def begin(self) -> None:
        """A new batch: what was known before no longer holds."""
        self._asked = self._empty = False

    def ask(self, count: int, stream: int) -> None:
        """Ask for the number of samples left, at an address, if no answer is due."""
        if self.none_is_left() or (self._asked and not self._event.has_come()):
            return
        self._device.copy_out_later(self._count, count, stream)
        self._event.record(stream)
        self._asked = True

    def none_is_left(self) -> bool:
        """True once an answer has come that says so; dead and finished samples stay so."""
        if self._asked and not self._empty and self._event.has_come():
            self._empty = int(self._count[0]) == 0
        return self._empty


class DeviceMemory:
    """What a program has on its device, taken at the first run and kept for the next.

    Arguments:
        budget: bytes; None for nine tenths of what is free at the first run.

    Attributes:
        stream: the plan's own.
        poll: how the host learns that no samples are left.
    """

    def __init__(self, device: Device, program: GpuProgram, budget: int | None) -> None:
        self.device, self.program, self.budget = device, program, budget
        self.stream = device.stream_for(self)
        self.poll = SurvivorPoll(device)
        self._buffers = _buffer_widths(program)
        self._weights: Weights | None = None
        self._workspace: Workspace | None = None

    @property
    def resident(self) -> bool:
        """Whether all weights were on the device at the last run."""
        return self._weights is None or self._weights.resident

    def prepare(self, samples: int) -> tuple[Workspace, Weights]:
        """Memory for so many samples.

        Where the device has less than it said, less is taken at a time.
        """
        if self._workspace is not None and self._weights is not None:
            if samples <= self._workspace.slots or self._workspace.limited:
                return self._workspace, self._weights
            self.release()
        program, budget = self.program, self.budget
        budget = budget or int(self.device.free_bytes() * _PART_OF_FREE)
        weights = [segment.bytes for segment in program.segments]
        for tried in range(1, _TRIES + 1):
            sizes = weights, samples, program.packer.tile, program.inputs
            chosen = plan_memory(budget, self._buffers, *sizes)
            try:
                return self._take(chosen, limited=chosen.slots < samples)
            except DeviceMemoryError:
                self.release()
                if tried == _TRIES:
                    raise
                budget = budget * 3 // 4
        raise AssertionError("unreachable")

    def release(self) -> None:
        """Give all memory back; the next run takes it again."""
        for held in (self._workspace, self._weights):
            if held is not None:
                held.free()
        self._workspace = self._weights = None

    def _take(self, chosen: MemoryPlan, limited: bool) -> tuple[Workspace, Weights]:
        device, program = self.device, self.program
        self._workspace = Workspace(device, chosen, self._buffers, program, limited)
        if chosen.resident:
            segments = list(program.weights())
            self._weights = HeldWeights(device, segments, program.exits, self.stream)
        else:
            largest = max(segment.bytes for segment in program.segments)
            self._weights = StreamedWeights(device, program.weights, largest, program.exits)
        return self._workspace, self._weights


def _buffer_widths(program: GpuProgram) -> BufferWidths:
    """Buffers for runs with and without the zero filter."""
    segments = program.segments
    runs = [
        BufferWidths.of(segments, [samples_move(program, segment, drop) for segment in segments])
        for drop in (False, True)
    ]
    return BufferWidths(max(run.first for run in runs), max(run.second for run in runs))
