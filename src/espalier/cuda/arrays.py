"""Arrays that lie on a GPU, read where they are and given back without a copy.

Whoever has ``__cuda_array_interface__`` is understood: CuPy, torch, Numba, JAX.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.cuda.device import Device, Memory
from espalier.errors import DeviceError, InputError


@dataclass(frozen=True)
class DeviceView:
    """An array of somebody else on a device.

    Attributes:
        address: of its first number.
        strides: numbers from one row to the next, and so on.
        owner: keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: Any


class DeviceArray:
    """Numbers on a device that others read in place: ``torch.as_tensor(a)``, ``cupy.asarray(a)``.

    Attributes:
        shape, dtype: as in numpy.
    """

    def __init__(
        self, device: Device, memory: Memory, shape: tuple[int, ...], dtype: Any, stream: int
    ) -> None:
        self._device, self._memory, self._stream = device, memory, stream
        self.shape, self.dtype = shape, np.dtype(dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._memory.address, False),
            "strides": None,
            "stream": self._stream or 1,
            "version": 3,
        }

    def numpy(self) -> NDArray[Any]:
        """A copy on the host."""
        copy = np.empty(self.shape, self.dtype)
        self._device.copy_out(copy, self._memory.address, self._stream)
        return copy

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {list(self.shape)} on {self._device!r})"


def on_device(x: Any) -> bool:
    """Whether an array lies on a GPU."""
    return hasattr(_detached(x), "__cuda_array_interface__")


def read_device_array(name: str, x: Any, device: Device) -> DeviceView:
    """Where an array lies.

    Raises:
        DeviceError: on another device. InputError: an array with a mask.
    """
    x = _detached(x)
    interface = x.__cuda_array_interface__
    dtype = np.dtype(interface["typestr"])
    shape = tuple(interface["shape"])
    if interface.get("mask") is not None:
        raise InputError(f"{name} has a mask, wanted an array without one")
    address = int(interface["data"][0])
    bytes_apart = interface.get("strides") or _contiguous(shape, dtype.itemsize)
    if any(each % dtype.itemsize for each in bytes_apart):
        raise InputError(f"{name} has strides {bytes_apart}, wanted whole numbers of {dtype}")
    if 0 not in shape:
        _check_place(name, address, device)
    strides = tuple(each // dtype.itemsize for each in bytes_apart)
    return DeviceView(address, shape, strides, dtype, x)


def stream_of(x: Any, device: Device) -> int:
    """The stream on which the caller works on an array: torch's current one, or what x says."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(torch.cuda.current_stream(device.ordinal).cuda_stream)
    said = _detached(x).__cuda_array_interface__.get("stream")
    return 0 if said is None else int(said)


def as_stream(stream: Any) -> int:
    """A stream as the driver takes it: a number, or an object of CuPy, torch or cuda.core.

    Raises:
        InputError: something else.

    >>> as_stream(7)
    7
    """
    if isinstance(stream, int):
        return stream
    for name in ("cuda_stream", "ptr", "handle"):
        if (handle := getattr(stream, name, None)) is not None:
            return int(handle)
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    raise InputError(
        f"stream is a {type(stream).__name__}, wanted a number or a stream of torch or CuPy"
    )


def _detached(x: Any) -> Any:
    """A tensor that records gradients hides where it lies."""
    return x.detach() if getattr(x, "requires_grad", False) else x


def _check_place(name: str, address: int, device: Device) -> None:
    kind = device.driver.attribute("CUpointer_attribute", "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL")
    try:
        ordinal = int(device.call("cuPointerGetAttribute", kind, address))
    except DeviceError as error:
        raise DeviceError(f"{name} is no array of this driver: {error}") from error
    if ordinal != device.ordinal:
        raise DeviceError(
            f"{name} lies on cuda:{ordinal}, wanted cuda:{device.ordinal}; move it there, or "
            f"compile with device='cuda:{ordinal}'"
        )


def _contiguous(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    strides = []
    for extent in reversed(shape):
        strides.append(size)
        size *= extent
    return tuple(reversed(strides))
