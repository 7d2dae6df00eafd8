"""Arrays on an emulated device, as CuPy's and torch's look from outside."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from espalier.cuda import Device
from espalier.cuda.arrays import _DLTensor


class FakeDeviceArray:
    """A copy of a numpy array on a device, strides and all."""

    def __init__(self, device: Device, array: Any, **more: Any) -> None:
        base = array if array.base is None else array.base
        self.memory = device.allocate(base.nbytes)
        device.copy_in(self.memory.address, base, 0)
        device.synchronize(0)
        self.shape, self.dtype = array.shape, array.dtype
        start = array.ctypes.data - base.ctypes.data
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.memory.address + start, False),
            "strides": None if array.flags.c_contiguous else array.strides,
            "version": 3,
            **more,
        }


class FakeDlpackArray:
    """The same, by DLPack alone; strides in numbers, or none."""

    def __init__(self, device: Device, array: Any, *, strides: bool = True, **more: Any) -> None:
        self._held = FakeDeviceArray(device, array)
        interface = self._held.__cuda_array_interface__
        ndim = array.ndim
        apart = [each // array.itemsize for each in array.strides]
        self._shape = (ctypes.c_int64 * ndim)(*array.shape)
        self._strides = (ctypes.c_int64 * ndim)(*apart)
        self._tensor = _DLTensor(
            data=interface["data"][0] - 64,
            device_type=2,
            ndim=ndim,
            code={"f": 2, "c": 5}[array.dtype.kind],
            bits=8 * array.itemsize,
            lanes=1,
            shape=self._shape,
            byte_offset=64,
        )
        if strides:
            self._tensor.strides = self._strides
        self.place = more.get("place", (2, 0))
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self._tensor), b"dltensor", None)


class FakeDeviceCsr:
    """CSR whose arrays lie on a device."""

    def __init__(self, device: Device, matrix: Any, dtype: Any = np.int32) -> None:
        self.shape = matrix.shape
        self.indptr = FakeDeviceArray(device, matrix.indptr.astype(dtype))
        self.indices = FakeDeviceArray(device, matrix.indices.astype(dtype))
        self.data = FakeDeviceArray(device, matrix.data)
        self.has_canonical_format = matrix.has_canonical_format
