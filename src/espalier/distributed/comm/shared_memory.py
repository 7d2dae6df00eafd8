"""Exchanges between processes of one machine: each reads what it needs where the other put it.

A part packs the neurons that other parts read, each once, into memory that all parts see, and
announces the number of the step; the others then take theirs from there. That is one copy less than
a message, no request, and no call into MPI. Two halves of memory alternate: a part that announces a
step has read all of the step before it, so that the half of the step before that one is free.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.world import World, import_mpi
from espalier.errors import InputError
from espalier.kernels.panels import Panels, SharedExchange, StepCounters, add_neurons

if TYPE_CHECKING:
    from mpi4py import MPI

HALVES = 2
LINE = 64  # bytes; every half starts on a cache line
POLL_SECONDS = 0.05  # between two checks for signals and of the time


class SharedMemory:
    """Channels through memory that all parts of a replica see.

    Arguments:
        world: whose parts run on one machine.
    """

    name = "shared"
    overlaps = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.step = 0
        self._words = 0  # the most that a part packs in one step
        self._capacity = 0  # floats of a half
        self._window: MPI.Win | None = None
        self.halves: list[list[NDArray[np.float32]]] = []  # [half][part]
        self._all_parts = np.arange(world.parts, dtype=np.int64)
        self._counters, memories = self._allocate(LINE, np.uint64)
        steps = memories[0] if world.parts == 1 else self._counter_memory(memories)
        self.step_memory = steps.reshape(world.parts, -1)
        self._steps = StepCounters(self.step_memory, world.part)
        world.barrier()

    def channel(self, exchange: Exchange) -> SharedChannel:
        """A channel for one exchange."""
        channel = SharedChannel(exchange, self)
        words = max(len(exchange.outbox), exchange.words_received)
        self._words = max(self._words, *self.world.largest([words]))
        return channel

    def close(self) -> None:
        """Give the memory back."""
        self.halves = []
        self.world.barrier(self.world.within)
        for window in (self._window, self._counters):
            if window is not None:
                window.Free()

    def next_half(self, panels: int, lanes: int) -> list[NDArray[np.float32]]:
        """The memory of every part for the step that begins now; all parts grow it together."""
        wanted = max(1, self._words * panels * lanes)
        if wanted > self._capacity:
            self._grow(wanted)
        self.step += 1
        return self.halves[self.step % HALVES]

    def announce(self) -> None:
        """Tell that this part has packed what it gives in this step."""
        self._steps.announce(self.step)

    def wait(self) -> None:
        """Wait until every part has packed what it gives in this step."""
        timeout = self.world.timeout
        deadline = time.monotonic() + timeout.seconds
        while (late := self._steps.late(self._all_parts, self.step, POLL_SECONDS)) is not None:
            if time.monotonic() > deadline:
                timeout.give_up([self.world.replica * self.world.parts + late])

    def _grow(self, floats: int) -> None:
        """All parts do so in the same step, since panels and lanes are the same for all."""
        if self._window is not None:
            self.halves = []
            self.world.barrier(self.world.within)
            self._window.Free()
        self._capacity = -(-floats * 4 // LINE) * LINE // 4
        self._window, memories = self._allocate(HALVES * self._capacity * 4, np.float32)
        self.halves = [
            [memory[half * self._capacity :][: self._capacity] for memory in memories]
            for half in range(HALVES)
        ]

    def _allocate(self, size: int, dtype: Any) -> tuple[MPI.Win, list[NDArray[Any]]]:
        """Zeroed memory of so many bytes for each part, seen by all."""
        mpi, comm = import_mpi(), self.world.within
        self.world.barrier(comm)
        try:
            window = mpi.Win.Allocate_shared(size, 1, comm=comm)
        except mpi.Exception as error:
            raise InputError(
                f"the parts cannot share {size:,} bytes each ({error}); give transport 'messages'"
            ) from error
        memories = [np.frombuffer(window.Shared_query(part)[0], dtype) for part in range(comm.size)]
        memories[comm.rank][:] = 0
        self.world.barrier(comm)
        return window, memories

    def _counter_memory(self, memories: list[NDArray[Any]]) -> NDArray[Any]:
        """One array over the counters of all parts, which MPI lays one behind the other."""
        size = LINE // memories[0].itemsize
        base = memories[0].__array_interface__["data"][0]
        starts = [memory.__array_interface__["data"][0] for memory in memories]
        assert starts == [base + LINE * part for part in range(self.world.parts)]
        buffer = import_mpi().memory.fromaddress(base, LINE * self.world.parts)
        return np.frombuffer(buffer, np.uint64, size * self.world.parts)


class SharedChannel:
    """One exchange through shared memory.

    Of every other part it must know how much it packs, and where there its own neurons lie.
    """

    def __init__(self, exchange: Exchange, memory: SharedMemory) -> None:
        self.exchange = exchange
        self._memory = memory
        world = memory.world
        outbox = exchange.outbox
        packed = np.concatenate(world.gather(_one(len(outbox)), world.within))
        places = world.swap([np.searchsorted(outbox, places) for places in exchange.gives])
        self._native = SharedExchange(
            exchange.part,
            outbox,
            [np.ascontiguousarray(each) for each in places],
            packed,
            exchange.starts,
            memory.step_memory,
        )
        self._attached: object = None
        received = world.gather(_one(exchange.words_received), world.within)
        self._received = [int(n[0]) for n in received]
        starts = world.swap([_one(start - exchange.local) for start in exchange.starts[:-1]])
        self._starts = [int(start[0]) for start in starts]

    def start(self, x: Panels) -> None:
        """Pack what others read of the own neurons."""
        memory = self._memory
        memory.next_half(x.shape[0], x.shape[2])
        if self._attached is not memory.halves:
            self._attached = memory.halves
            self._native.attach([each for half in memory.halves for each in half])
        self._native.start(x, memory.step)

    def finish(self, x: Panels) -> None:
        """Take what others packed."""
        memory = self._memory
        late = self._native.finish(x, memory.step, POLL_SECONDS)
        if late >= 0:
            memory.wait()
            self._native.finish(x, memory.step, POLL_SECONDS)

    def fold(self, gradient: Panels) -> None:
        """Put partial sums where their owners see them, and add those of others in order."""
        exchange = self.exchange
        halves = self._memory.next_half(gradient.shape[0], gradient.shape[2])
        mine = _as_panels(halves[exchange.part], gradient, exchange.words_received)
        np.copyto(mine, gradient[:, exchange.local : exchange.width])
        self._memory.announce()
        self._memory.wait()
        for part, places in enumerate(exchange.gives):
            if len(places):
                theirs = _as_panels(halves[part], gradient, self._received[part])
                add_neurons(theirs, self._starts[part], places, gradient)


def _as_panels(memory: NDArray[np.float32], like: Panels, neurons: int) -> Panels:
    panels, _, lanes = like.shape
    return memory[: panels * neurons * lanes].reshape(panels, neurons, lanes)


def _one(number: int) -> NDArray[np.int64]:
    return np.array([number], np.int64)
