"""A stand-in for the CUDA driver: memory is the host's, kernels run in the emulator.

It is as strict as it can be: memory starts as NaN and lies between guards, copies and kernels must
stay inside, contexts must be pushed and popped, and streams may be as late as they are allowed to.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.cuda.compiler import kernels
from tests.support.emulator import Emulator

GUARD = 256
GUARD_BYTE = 0xA5
UNSET_BYTE = 0xFF  # NaN in float32


class Result(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


OK = Result.CUDA_SUCCESS
Returned = tuple[Any, ...]


class Stream:
    """Work in order; a lazy stream does it when somebody waits for it."""

    def __init__(self, lazy: bool) -> None:
        self.lazy = lazy
        self.work: deque[Callable[[], None]] = deque()

    def give(self, work: Callable[[], None]) -> None:
        self.work.append(work)
        if not self.lazy:
            self.drain()

    def drain(self, until: Callable[[], bool] = lambda: False) -> None:
        while self.work and not until():
            self.work.popleft()()


class FakeCuda:
    """Has the functions of `cuda.bindings.driver` that we call.

    Arguments:
        memory: bytes each device has.
        lazy: which streams do their work as late as possible: a set of numbers in order of
            creation; stream 0 is the default stream.
    """

    def __init__(
        self,
        emulator: Emulator,
        *,
        memory: int = 1 << 30,
        devices: int = 1,
        version: int = 13050,
        capability: tuple[int, int] = (9, 0),
        shared: int = 227 << 10,
        lazy: frozenset[int] = frozenset(),
    ) -> None:
        self.emulator = emulator
        self.memory = memory
        self.devices = devices
        self.version = version
        self.lazy = lazy
        self.facts = {
            "COMPUTE_CAPABILITY_MAJOR": capability[0],
            "COMPUTE_CAPABILITY_MINOR": capability[1],
            "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": shared,
        }
        self.allocations: dict[int, tuple[NDArray[np.uint8], int]] = {}
        self.pinned: dict[int, NDArray[np.uint8]] = {}
        self.most_used = 0
        self.contexts: list[int] = []
        self.streams = {0: Stream(0 in lazy)}
        self.events: dict[int, dict[str, Any]] = {}
        self._event_numbers = itertools.count(1)
        self.shared_of: dict[str, int] = {}
        self.time = 0.0
        self.ordinal_of = 0  # the device that all memory is said to lie on
        self.launches: list[str] = []
        self.copies: list[tuple[str, int]] = []
        names = [f"CU_DEVICE_ATTRIBUTE_{fact}" for fact in self.facts]
        self.CUdevice_attribute = SimpleNamespace(**{name: name for name in names})
        shared_kind = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
        self.CUfunction_attribute = SimpleNamespace(**{shared_kind: shared_kind})
        ordinal_kind = "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL"
        self.CUpointer_attribute = SimpleNamespace(**{ordinal_kind: ordinal_kind})

    @property
    def used(self) -> int:
        return sum(size for _, size in self.allocations.values())

    # Driver and devices

    def cuInit(self, flags: int) -> Returned:
        return (OK if self.devices else Result.CUDA_ERROR_NO_DEVICE,)

    def cuDriverGetVersion(self) -> Returned:
        return OK, self.version

    def cuDeviceGetCount(self) -> Returned:
        return OK, self.devices

    def cuDeviceGet(self, ordinal: int) -> Returned:
        return OK, ordinal

    def cuDeviceGetName(self, size: int, device: int) -> Returned:
        return OK, b"Emulated GPU\0\0\0"

    def cuDeviceGetAttribute(self, name: str, device: int) -> Returned:
        return OK, self.facts[name.removeprefix("CU_DEVICE_ATTRIBUTE_")]

    def cuDevicePrimaryCtxRetain(self, device: int) -> Returned:
        return OK, 1000 + device

    def cuCtxPushCurrent(self, context: int) -> Returned:
        self.contexts.append(context)
        return (OK,)

    def cuCtxPopCurrent(self) -> Returned:
        return OK, self.contexts.pop()

    # Memory

    def cuMemHostAlloc(self, size: int, flags: int) -> Returned:
        block = np.zeros(size, np.uint8)
        self.pinned[block.ctypes.data] = block
        return self._in_context() or (OK, block.ctypes.data)

    def cuMemFreeHost(self, address: int) -> Returned:
        for stream in self.streams.values():
            stream.drain()
        del self.pinned[address]
        return self._in_context() or (OK,)

    def cuMemGetInfo(self) -> Returned:
        return self._in_context() or (OK, self.memory - self.used, self.memory)

    def cuMemAlloc(self, size: int) -> Returned:
        if bad := self._in_context():
            return bad
        if self.used + size > self.memory:
            return Result.CUDA_ERROR_OUT_OF_MEMORY, 0
        block = np.full(size + 3 * GUARD, GUARD_BYTE, np.uint8)
        address = (block.ctypes.data + GUARD + 255) // 256 * 256
        start = address - block.ctypes.data
        block[start : start + size] = UNSET_BYTE
        self.allocations[address] = (block, size)
        self.most_used = max(self.most_used, self.used)
        return OK, address

    def cuMemFree(self, address: int) -> Returned:
        for stream in self.streams.values():
            stream.drain()
        self.check_guards()
        del self.allocations[address]
        return (OK,)

    def cuMemcpyHtoDAsync(self, address: int, source: int, size: int, stream: int) -> Returned:
        self._must_hold(address, size)
        self.copies.append(("in", size))
        data = ctypes.string_at(source, size)  # pageable memory is free again at once
        self.streams[stream].give(lambda: void(ctypes.memmove(address, data, size)))
        return (OK,)

    def cuMemcpyDtoHAsync(self, target: int, address: int, size: int, stream: int) -> Returned:
        self._must_hold(address, size)
        self.copies.append(("out", size))
        self.streams[stream].give(lambda: void(ctypes.memmove(target, address, size)))
        return (OK,)

    def cuMemcpyDtoDAsync(self, target: int, source: int, size: int, stream: int) -> Returned:
        self._must_hold(source, size)
        self._must_hold(target, size)

        def copy() -> None:
            self.time += 1.0
            ctypes.memmove(target, source, size)

        self.streams[stream].give(copy)
        return (OK,)

    def cuMemsetD8Async(self, address: int, value: int, size: int, stream: int) -> Returned:
        self._must_hold(address, size)
        self.streams[stream].give(lambda: void(ctypes.memset(address, value, size)))
        return (OK,)

    def cuPointerGetAttribute(self, kind: str, address: int) -> Returned:
        if not self._holds(address, 0):
            return Result.CUDA_ERROR_INVALID_VALUE, None
        return OK, self.ordinal_of

    # Streams and events

    def cuStreamCreate(self, flags: int) -> Returned:
        number = len(self.streams)
        self.streams[number] = Stream(number in self.lazy)
        return self._in_context() or (OK, number)

    def cuStreamSynchronize(self, stream: int) -> Returned:
        self.streams[stream].drain()
        self.check_guards()
        return (OK,)

    def cuEventCreate(self, flags: int) -> Returned:
        number = next(self._event_numbers)
        self.events[number] = {"stream": 0, "due": 0, "come": 0, "time": 0.0}
        return self._in_context() or (OK, number)

    def cuEventDestroy(self, event: int) -> Returned:
        del self.events[event]
        return self._in_context() or (OK,)

    def cuEventRecord(self, event: int, stream: int) -> Returned:
        state = self.events[event]
        state["stream"], state["due"] = stream, state["due"] + 1
        due = state["due"]
        self.streams[stream].give(lambda: state.update(come=due, time=self.time))
        return (OK,)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> Returned:
        state = self.events[event]
        source, due = self.streams[state["stream"]], state["due"]
        self.streams[stream].give(lambda: source.drain(lambda: state["come"] >= due))
        return (OK,)

    def cuEventQuery(self, event: int) -> Returned:
        state = self.events[event]
        return (OK if state["come"] >= state["due"] else Result.CUDA_ERROR_NOT_READY,)

    def cuEventElapsedTime(self, start: int, end: int) -> Returned:
        first, last = self.events[start], self.events[end]
        if not first["come"] or not last["come"]:
            return Result.CUDA_ERROR_NOT_READY, 0.0
        return OK, last["time"] - first["time"]

    # Kernels

    def cuModuleLoadData(self, image: int) -> Returned:
        return self._in_context() or (OK, 1)

    def cuModuleGetFunction(self, module: int, name: bytes) -> Returned:
        assert name.decode() in kernels()
        return OK, name.decode()

    def cuFuncSetAttribute(self, function: str, kind: str, value: int) -> Returned:
        if value > self.facts["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"]:
            return (Result.CUDA_ERROR_INVALID_VALUE,)
        self.shared_of[function] = value
        return (OK,)

    def cuLaunchKernel(self, function: str, *rest: Any) -> Returned:
        x, y, z, threads, _, _, shared, stream, params, _ = rest
        most = max(48 << 10, self.shared_of.get(function, 0))
        if not (0 < x < 2**31 and 0 < y < 65536 and z == 1) or shared > most:
            return (Result.CUDA_ERROR_INVALID_VALUE,)
        size = self.emulator.size_of(kernels()[function].argument.split("<")[0])
        held = ctypes.create_string_buffer(
            ctypes.string_at(ctypes.c_void_p.from_address(params).value or 0, size), size
        )

        def run() -> None:
            self.launches.append(function)
            self.time += 1.0
            self.emulator.launch(function, (x, y, z), threads, shared, ctypes.addressof(held))
            self.check_guards()

        self.streams[stream].give(run)
        return self._in_context() or (OK,)

    def check_guards(self) -> None:
        """Raise if anything was written beside an allocation."""
        for address, (block, size) in self.allocations.items():
            start = address - block.ctypes.data
            before, behind = block[start - GUARD : start], block[start + size :]
            assert (before == GUARD_BYTE).all() and (behind == GUARD_BYTE).all(), (
                "a kernel or copy wrote outside its memory"
            )

    def _in_context(self) -> Returned | None:
        return None if self.contexts else (Result.CUDA_ERROR_INVALID_CONTEXT, None)

    def _must_hold(self, address: int, size: int) -> None:
        assert self._holds(address, size), f"{size} bytes at {address} are not on the device"

    def _holds(self, address: int, size: int) -> bool:
        return any(
            start <= address and address + size <= start + held
            for start, (_, held) in self.allocations.items()
        )


def void(result: Any) -> None:
    """Forget what a function returned."""
