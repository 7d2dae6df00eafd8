"""One GPU: its facts, its memory, its streams, and launching our kernels on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
import weakref
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from espalier.cuda.compiler import kernels, machine_code
from espalier.cuda.driver import Driver
from espalier.errors import DeviceError, InputError

OLDEST = (7, 5)
_DEFAULT_SHARED = 48 << 10  # above it a kernel must be told
_NAME = re.compile(r"cuda(?::(\d+))?")
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_ALIGNMENT = 256  # of arrays that share a piece of memory


class Memory:
    """Some bytes on a device, freed with the last reference to this object.

    Attributes:
        address: where they are.
        bytes: how many.
    """

    def __init__(self, device: Device, size: int) -> None:
        self.bytes = size
        pointer = device.call("cuMemAlloc", max(size, 1))
        self.address = int(pointer)
        self._free = weakref.finalize(self, _release, device, "cuMemFree", pointer)

    def free(self) -> None:
        """Give the bytes back now."""
        self._free()


class Event:
    """A moment in a stream, to wait for or to take the time from."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.handle = device.call("cuEventCreate", 0)
        weakref.finalize(self, _release, device, "cuEventDestroy", self.handle)

    def record(self, stream: int) -> None:
        """The moment is when all work given to the stream so far is done."""
        self.device.call("cuEventRecord", self.handle, stream)

    def has_come(self) -> bool:
        """Whether the moment is over, without waiting for it."""
        with self.device.current():
            (code,) = self.device.driver.api.cuEventQuery(self.handle)
        return int(code) == 0

    def wait_in(self, stream: int) -> None:
        """Work given to this stream from now on starts after the moment."""
        self.device.call("cuStreamWaitEvent", stream, self.handle, 0)

    def seconds_since(self, earlier: Event) -> float:
        """Seconds between two moments that have come."""
        return float(self.device.call("cuEventElapsedTime", earlier.handle, self.handle)) / 1e3


class Device:
    """A GPU; get one from `open_device`.

    Attributes:
        name: what its maker calls it.
        capability: such as (9, 0).
        shared_bytes: the most shared memory one block may have.
    """

    def __init__(self, driver: Driver, ordinal: int) -> None:
        self.driver = driver
        self.ordinal = ordinal
        count = int(driver.call("cuDeviceGetCount"))
        if ordinal >= count:
            raise DeviceError(
                f"device is cuda:{ordinal}, but this machine has {count} GPU"
                f"{'' if count == 1 else 's'}; wanted cuda:0"
                + (f" ... cuda:{count - 1}" if count > 1 else "")
            )
        handle = driver.call("cuDeviceGet", ordinal)
        self._context = driver.call("cuDevicePrimaryCtxRetain", handle)

        def fact(name: str) -> int:
            kind = driver.attribute("CUdevice_attribute", f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(driver.call("cuDeviceGetAttribute", kind, handle))

        self.name = driver.call("cuDeviceGetName", 256, handle).decode().strip("\0 ")
        self.capability = fact("COMPUTE_CAPABILITY_MAJOR"), fact("COMPUTE_CAPABILITY_MINOR")
        self.shared_bytes = fact("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
        self._modules: dict[str, Any] = {}
        self._functions: dict[str, Any] = {}
        self._shared: dict[str, int] = {}  # bytes that a kernel may use, where it was told
        self._free_streams: list[int] = []
        if self.capability < OLDEST:
            raise DeviceError(
                f"{self.name} has compute capability {self.capability[0]}.{self.capability[1]}, "
                f"wanted {OLDEST[0]}.{OLDEST[1]} or newer; leave out device='cuda'"
            )

    @property
    def architecture(self) -> str:
        """What machine code it runs, such as ``sm_90``."""
        return f"sm_{self.capability[0]}{self.capability[1]}"

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """The device that driver calls of this thread mean; the caller's own comes back after."""
        self.driver.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.driver.call("cuCtxPopCurrent")

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a driver function that means this device."""
        with self.current():
            return self.driver.call(function, *arguments)

    def free_bytes(self) -> int:
        """Memory that is free now."""
        return int(self.call("cuMemGetInfo")[0])

    def allocate(self, size: int) -> Memory:
        """Memory of its own.

        Raises:
            DeviceMemoryError: there is no more.
        """
        return Memory(self, size)

    def allocate_pinned(self, count: int) -> NDArray[np.int32]:
        """Numbers of the host that the device fills while the host goes on.

        The memory belongs to the array and its views, and is freed with the last of them.
        """
        address = int(self.call("cuMemHostAlloc", 4 * count, 0))
        numbers = (ctypes.c_int32 * count).from_address(address)
        weakref.finalize(numbers, _release, self, "cuMemFreeHost", address)
        return np.ctypeslib.as_array(numbers)

    def stream_for(self, owner: Any) -> int:
        """A stream that waits for no other, and goes to another owner once this one is gone.

        It stays valid for ever: results on the device may outlive who computed them.
        """
        free = self._free_streams
        stream = free.pop() if free else int(self.call("cuStreamCreate", _NON_BLOCKING))
        weakref.finalize(owner, free.append, stream)
        return stream

    def synchronize(self, stream: int) -> None:
        """Wait until all work given to the stream is done."""
        self.call("cuStreamSynchronize", stream)

    def copy_in(self, address: int, array: NDArray[Any], stream: int) -> None:
        """Copy a contiguous array onto the device; it may change as soon as this returns."""
        if array.nbytes:
            source = array.ctypes.data
            self.call("cuMemcpyHtoDAsync", address, source, array.nbytes, stream)

    def upload(self, arrays: Sequence[NDArray[Any]], stream: int) -> tuple[Memory, list[int]]:
        """Copy arrays onto the device, in one piece of memory, and say where each starts."""
        sizes = [-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays]
        memory = self.allocate(sum(sizes))
        starts = list(accumulate(sizes[:-1], initial=memory.address))
        for array, start in zip(arrays, starts, strict=True):
            self.copy_in(start, np.ascontiguousarray(array), stream)
        return memory, starts

    def read(
        self, address: int, shape: int | tuple[int, ...], dtype: DTypeLike, stream: int
    ) -> NDArray[Any]:
        """A copy on the host of an array that is contiguous on the device."""
        array = np.empty(shape, dtype)
        self.copy_out(array, address, stream)
        return array

    def copy_out(self, array: NDArray[Any], address: int, stream: int) -> None:
        """Copy from the device into a contiguous array, which is filled when this returns."""
        if array.nbytes:
            self.call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)
        self.synchronize(stream)

    def copy_out_later(self, array: NDArray[Any], address: int, stream: int) -> None:
        """Copy into pinned memory, which is filled once the stream has come so far."""
        self.call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def clear(self, address: int, size: int, stream: int) -> None:
        """Set bytes to 0."""
        if size:
            self.call("cuMemsetD8Async", address, 0, size, stream)

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int],
        threads: int,
        argument: ctypes.Structure,
        stream: int,
        shared: int = 0,
    ) -> None:
        """Give a kernel to a stream; an empty grid is no work.

        Arguments:
            kernel: its name in our sources.
            grid: blocks across and down.
            threads: of a block.
            argument: its struct, of which a copy is taken.
            shared: bytes of dynamic shared memory.
        """
        if not all(grid):
            return
        pointer = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        with self.current():
            function = self._function(kernel, shared)
            self.driver.call(
                "cuLaunchKernel",
                function,
                *(*grid, 1),
                *(threads, 1, 1),
                shared,
                stream,
                ctypes.addressof(pointer),
                0,
            )

    def _function(self, kernel: str, shared: int) -> Any:
        """A kernel that may use so much shared memory; loaded when it is first launched."""
        if kernel not in self._functions:
            source = kernels()[kernel].source
            if source not in self._modules:
                code = np.frombuffer(machine_code(source, self.architecture), np.uint8)
                self._modules[source] = self.driver.call("cuModuleLoadData", code.ctypes.data)
            handles = self._modules[source], kernel.encode()
            self._functions[kernel] = self.driver.call("cuModuleGetFunction", *handles)
        function = self._functions[kernel]
        if shared > self._shared.get(kernel, _DEFAULT_SHARED):
            name = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
            attribute = self.driver.attribute("CUfunction_attribute", name)
            self.driver.call("cuFuncSetAttribute", function, attribute, shared)
            self._shared[kernel] = shared
        return function

    def __repr__(self) -> str:
        return f"Device(cuda:{self.ordinal}, {self.name}, {self.architecture})"


def parse_device(name: Any) -> int | None:
    """The ordinal of a GPU, None for the CPU.

    Raises:
        InputError: neither ``cpu``, ``cuda`` nor ``cuda:N``.

    >>> parse_device("cpu"), parse_device("cuda"), parse_device("cuda:1")
    (None, 0, 1)
    """
    if name == "cpu":
        return None
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise InputError(f"device is {name!r}, wanted 'cpu', 'cuda' or 'cuda:N'")
    return int(match[1] or 0)


@functools.cache
def open_device(ordinal: int) -> Device:
    """The GPU of this number, opened once.

    Raises:
        DeviceError: no driver, an old driver, or no such GPU. MissingExtraError: no bindings.
    """
    return Device(_driver(), ordinal)


@functools.cache
def _driver() -> Driver:
    return Driver.load()


def _release(device: Device, function: str, handle: Any) -> None:
    """Give something back; at the end of the process the driver may be gone already."""
    with contextlib.suppress(DeviceError):
        device.call(function, handle)
