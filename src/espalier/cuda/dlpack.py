"""Arrays on a GPU by DLPack, for those who have no ``__cuda_array_interface__``."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np

from espalier.cuda.arrays import DeviceView
from espalier.cuda.device import Device
from espalier.errors import DeviceError, InputError

_CUDA = 2
_KINDS = {0: "i", 1: "u", 2: "f"}


class _Tensor(ctypes.Structure):
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


def has_dlpack(x: Any) -> bool:
    """Whether an array says by DLPack that it lies on a GPU."""
    place = getattr(x, "__dlpack_device__", None)
    return place is not None and hasattr(x, "__dlpack__") and int(place()[0]) == _CUDA


def read_dlpack(name: str, x: Any, device: Device, stream: int) -> DeviceView:
    """Where an array lies, once it is ready for work on a stream.

    Raises:
        DeviceError: on another device. InputError: numbers that numpy has no type for.
    """
    ordinal = int(x.__dlpack_device__()[1])
    if ordinal != device.ordinal:
        raise DeviceError(
            f"{name} lies on cuda:{ordinal}, wanted cuda:{device.ordinal}; move it there, or "
            f"compile with device='cuda:{ordinal}'"
        )
    capsule = x.__dlpack__(stream=stream or 1)  # 1 is the default stream, 0 is not allowed
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(get_pointer(capsule, b"dltensor"))
    kind = _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits not in (8, 16, 32, 64):
        raise InputError(f"{name} holds numbers that numpy has no type for, wanted float32")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _contiguous(shape)
    address = int(tensor.data or 0) + tensor.byte_offset
    # The capsule frees the array when it dies: it is kept, not consumed.
    return DeviceView(address, shape, strides, np.dtype(f"{kind}{tensor.bits // 8}"), capsule)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))
