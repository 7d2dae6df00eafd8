"""Arrays that lie on a GPU, read where they are and given back without a copy.

Arrays with ``__cuda_array_interface__`` are understood (CuPy, torch, Numba, JAX), and those with
DLPack alone.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from espalier.cuda.device import Device, Memory
from espalier.errors import DeviceError, InputError

_DLPACK_CUDA = 2
_DLPACK_KINDS = {0: "i", 1: "u", 2: "f"}


@dataclass(frozen=True)
class DeviceView:
    """An array of another library on a device.

    Attributes:
        address: of its first number.
        strides: numbers from one row to the next, and so on.
        stream: on which its numbers are made.
        owner: keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int
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
        address, stream = self._memory.address, self._stream
        return self._device.read(address, self.shape, self.dtype, stream)

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {list(self.shape)} on {self._device!r})"


def on_device(x: Any) -> bool:
    """Whether an array lies on a GPU."""
    return hasattr(_detached(x), "__cuda_array_interface__") or _has_dlpack(x)


def read_device_array(name: str, x: Any, device: Device, stream: int) -> DeviceView:
    """Where an array lies.

    Arguments:
        stream: to make its numbers ready for, where it comes by DLPack.

    Raises:
        DeviceError: on another device.
        InputError: an array with a mask, or numbers that numpy has no type for.
    """
    x = _detached(x)
    if not hasattr(x, "__cuda_array_interface__"):
        return _read_dlpack(name, x, device, stream)
    interface = x.__cuda_array_interface__
    dtype = np.dtype(interface["typestr"])
    shape = tuple(interface["shape"])
    if interface.get("mask") is not None:
        raise InputError(f"{name} has a mask, wanted an array without one")
    address = int(interface["data"][0])
    bytes_apart = interface.get("strides") or _contiguous_strides(shape, dtype.itemsize)
    if any(each % dtype.itemsize for each in bytes_apart):
        raise InputError(f"{name} has strides {bytes_apart}, wanted whole numbers of {dtype}")
    if 0 not in shape:
        _check_device(name, _ordinal_of(name, address, device), device)
    strides = tuple(each // dtype.itemsize for each in bytes_apart)
    return DeviceView(address, shape, strides, dtype, _stream_of(x, device), x)


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


def _stream_of(x: Any, device: Device) -> int:
    """The stream on which the caller works on an array: torch's current one, or what x says."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(torch.cuda.current_stream(device.ordinal).cuda_stream)
    said = x.__cuda_array_interface__.get("stream")
    return 0 if said is None else int(said)


def _has_dlpack(x: Any) -> bool:
    where = getattr(x, "__dlpack_device__", None)
    return where is not None and hasattr(x, "__dlpack__") and int(where()[0]) == _DLPACK_CUDA


class _DLTensor(ctypes.Structure):
    """`DLTensor` of dlpack.h."""

    _fields_: ClassVar[list[Any]] = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def _read_dlpack(name: str, x: Any, device: Device, stream: int) -> DeviceView:
    _check_device(name, int(x.__dlpack_device__()[1]), device)
    capsule = x.__dlpack__(stream=stream or 1)  # 1 is the default stream, 0 is not allowed
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(get_pointer(capsule, b"dltensor"))
    kind = _DLPACK_KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits not in (8, 16, 32, 64):
        raise InputError(f"{name} holds numbers that numpy has no type for, wanted float32")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _contiguous_strides(shape)
    address = int(tensor.data or 0) + tensor.byte_offset
    dtype = np.dtype(f"{kind}{tensor.bits // 8}")
    # The capsule frees the array when it dies: it is kept, not consumed.
    return DeviceView(address, shape, strides, dtype, stream, capsule)


def _ordinal_of(name: str, address: int, device: Device) -> int:
    kind = device.driver.attribute("CUpointer_attribute", "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL")
    try:
        return int(device.call("cuPointerGetAttribute", kind, address))
    except DeviceError as error:
        raise DeviceError(f"{name} is no array of this driver: {error}") from error


def _check_device(name: str, ordinal: int, device: Device) -> None:
    if ordinal != device.ordinal:
        raise DeviceError(
            f"{name} lies on cuda:{ordinal}, wanted cuda:{device.ordinal}; move it there, or "
            f"compile with device='cuda:{ordinal}'"
        )


def _contiguous_strides(shape: tuple[int, ...], step: int = 1) -> tuple[int, ...]:
    strides = []
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))
