"""Arrays on an emulated device, as CuPy's and torch's look from outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from espalier.cuda import Device


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


class FakeDeviceCsr:
    """CSR whose arrays lie on a device."""

    def __init__(self, device: Device, matrix: Any, dtype: Any = np.int32) -> None:
        self.shape = matrix.shape
        self.indptr = FakeDeviceArray(device, matrix.indptr.astype(dtype))
        self.indices = FakeDeviceArray(device, matrix.indices.astype(dtype))
        self.data = FakeDeviceArray(device, matrix.data)
        self.has_canonical_format = matrix.has_canonical_format
