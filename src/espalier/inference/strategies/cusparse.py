"""NVIDIA's own sparse products, by its library cuSPARSE: what our kernels are compared with."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Callable
from ctypes import c_float, c_int, c_int64, c_size_t, c_void_p
from typing import Any

from espalier.cuda.device import Device
from espalier.errors import DeviceError, DeviceMemoryError, MissingExtraError

_PLAIN, _INT32, _ZERO_BASED, _FLOAT32 = 0, 2, 0, 0
_ROW_MAJOR, _DEFAULT = 2, 0
_NO_MEMORY = {2, 11}  # CUSPARSE_STATUS_ALLOC_FAILED, ..._INSUFFICIENT_RESOURCES
_ONE, _ZERO = c_float(1.0), c_float(0.0)

# What `allocate` of a product gives: an address of so many bytes.
Allocate = Callable[[int], int]


class Cusparse:
    """A handle of the library, which works on one stream.

    Arguments:
        library: as from `load_library`, or what stands in for it in a test.
    """

    def __init__(self, library: Any, device: Device, stream: int) -> None:
        self._library, self._device = library, device
        self._handle = c_void_p()
        self.call("cusparseCreate", ctypes.byref(self._handle))
        weakref.finalize(self, _destroy, library, device, self._handle)
        self.call("cusparseSetStream", self._handle, c_void_p(stream))

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of the library.

        Raises:
            DeviceMemoryError: it found too little memory. DeviceError: any other failure.
        """
        with self._device.current():
            status = int(getattr(self._library, function)(*arguments))
        if status in _NO_MEMORY:
            raise DeviceMemoryError(f"{function}: the GPU's memory is used up; run fewer samples")
        if status:
            raise DeviceError(f"{function} failed with status {status} of cuSPARSE")

    def csr(
        self, shape: tuple[int, int], nonzeros: int, offsets: int, columns: int, values: int
    ) -> SparseMatrix:
        """A CSR matrix of int32 and float32 arrays at these addresses."""
        return SparseMatrix(self, shape, nonzeros, offsets, columns, values)

    def spgemm(self, left: SparseMatrix, right: SparseMatrix) -> SparseProduct:
        """Begin ``left @ right``."""
        return SparseProduct(self, left, right)

    def spmm(self, left: SparseMatrix, right: int, result: int, columns: int) -> DenseProduct:
        """Prepare ``left @ right`` for dense rows of `columns` numbers at two addresses."""
        return DenseProduct(self, left, right, result, columns)

    @property
    def handle(self) -> c_void_p:
        """What every function of the library takes first."""
        return self._handle


class SparseMatrix:
    """The library's description of a CSR matrix.

    Attributes:
        shape: rows and columns.
    """

    def __init__(
        self,
        library: Cusparse,
        shape: tuple[int, int],
        nonzeros: int,
        offsets: int | None,
        columns: int | None,
        values: int | None,
    ) -> None:
        self._library, self.shape = library, shape
        self.description = c_void_p()
        library.call(
            "cusparseCreateCsr",
            ctypes.byref(self.description),
            *map(c_int64, (*shape, nonzeros)),
            *map(c_void_p, (offsets, columns, values)),
            *map(c_int, (_INT32, _INT32, _ZERO_BASED, _FLOAT32)),
        )

    def free(self) -> None:
        """Forget the description; the arrays stay."""
        self._library.call("cusparseDestroySpMat", self.description)


class SparseProduct:
    """A sparse matrix times a sparse matrix, in the library's three steps."""

    def __init__(self, library: Cusparse, left: SparseMatrix, right: SparseMatrix) -> None:
        self._library = library
        shape = left.shape[0], right.shape[1]
        self._result = SparseMatrix(library, shape, 0, None, None, None)
        self._state = c_void_p()
        library.call("cusparseSpGEMM_createDescr", ctypes.byref(self._state))
        self._operands = (
            *(library.handle, c_int(_PLAIN), c_int(_PLAIN), ctypes.byref(_ONE)),
            *(left.description, right.description, ctypes.byref(_ZERO), self._result.description),
            *(c_int(_FLOAT32), c_int(_DEFAULT), self._state),
        )

    def compute(self, first: Allocate, second: Allocate) -> int:
        """Multiply in two buffers the library asks for; returns the entries of the result."""
        for step, allocate in (("workEstimation", first), ("compute", second)):
            size = c_size_t(0)
            function = f"cusparseSpGEMM_{step}"
            self._library.call(function, *self._operands, ctypes.byref(size), c_void_p())
            buffer = c_void_p(allocate(size.value))
            self._library.call(function, *self._operands, ctypes.byref(size), buffer)
        rows, columns, nonzeros = c_int64(), c_int64(), c_int64()
        sizes = map(ctypes.byref, (rows, columns, nonzeros))
        self._library.call("cusparseSpMatGetSize", self._result.description, *sizes)
        return nonzeros.value

    def copy(self, offsets: int, columns: int, values: int) -> None:
        """Copy the result to arrays at these addresses, and end."""
        places = map(c_void_p, (offsets, columns, values))
        self._library.call("cusparseCsrSetPointers", self._result.description, *places)
        self._library.call("cusparseSpGEMM_copy", *self._operands)

    def free(self) -> None:
        """Forget the product's state."""
        self._library.call("cusparseSpGEMM_destroyDescr", self._state)
        self._result.free()


class DenseProduct:
    """A sparse matrix times dense rows, prepared once and run often."""

    def __init__(
        self, library: Cusparse, left: SparseMatrix, right: int, result: int, columns: int
    ) -> None:
        self._library = library
        self._right = self._dense(left.shape[1], columns, right)
        self._result = self._dense(left.shape[0], columns, result)
        self._operands = (
            *(library.handle, c_int(_PLAIN), c_int(_PLAIN), ctypes.byref(_ONE)),
            *(left.description, self._right, ctypes.byref(_ZERO), self._result),
            *(c_int(_FLOAT32), c_int(_DEFAULT)),
        )
        size = c_size_t(0)
        library.call("cusparseSpMM_bufferSize", *self._operands, ctypes.byref(size))
        self.buffer_bytes = size.value

    def run(self, buffer: int) -> None:
        """Multiply, in a buffer of `buffer_bytes`."""
        self._library.call("cusparseSpMM", *self._operands, c_void_p(buffer))

    def free(self) -> None:
        """Forget the descriptions."""
        for matrix in (self._right, self._result):
            self._library.call("cusparseDestroyDnMat", matrix)

    def _dense(self, rows: int, columns: int, address: int) -> c_void_p:
        description = c_void_p()
        self._library.call(
            "cusparseCreateDnMat",
            ctypes.byref(description),
            *map(c_int64, (rows, columns, columns)),
            c_void_p(address),
            *(c_int(_FLOAT32), c_int(_ROW_MAJOR)),
        )
        return description


def _destroy(library: Any, device: Device, handle: c_void_p) -> None:
    with contextlib.suppress(DeviceError), device.current():
        library.cusparseDestroy(handle)


@functools.cache
def load_library() -> Any:
    """cuSPARSE, wherever it is installed.

    Raises:
        MissingExtraError: nowhere.
    """
    with contextlib.suppress(ImportError):
        from cuda.pathfinder import load_nvidia_dynamic_lib

        with contextlib.suppress(RuntimeError):
            return ctypes.CDLL(load_nvidia_dynamic_lib("cusparse").abs_path)
    raise MissingExtraError("nvidia-cusparse", "gpu", "the strategies of the FSSL paper on a GPU")
