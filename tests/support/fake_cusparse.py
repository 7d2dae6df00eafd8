"""A stand-in for cuSPARSE: scipy's products of matrices that lie in an emulated device's memory."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp

ALLOC_FAILED, INVALID_VALUE = 2, 3
WORKSPACE = 64


class FakeCusparse:
    """Has the functions we call, and checks their order.

    Arguments:
        most_entries: a product of more fails for want of memory.
    """

    def __init__(self, most_entries: int = 10**9) -> None:
        self.most_entries = most_entries
        self.objects: dict[int, dict[str, Any]] = {}
        self.calls: list[str] = []
        self._numbers = itertools.count(1)

    def cusparseCreate(self, handle: Any) -> int:
        return self._new(handle, kind="handle")

    def cusparseDestroy(self, handle: Any) -> int:
        del self.objects[handle.value]
        return 0

    def cusparseSetStream(self, handle: Any, stream: Any) -> int:
        self._of(handle)["stream"] = stream.value
        return 0

    def cusparseCreateCsr(
        self, made: Any, rows: Any, columns: Any, nonzeros: Any, *more: Any
    ) -> int:
        offsets, indices, values, offset_type, index_type, base, value_type = more
        kinds = [each.value for each in (offset_type, index_type, base, value_type)]
        if kinds != [2, 2, 0, 0]:
            return INVALID_VALUE
        shape = rows.value, columns.value
        places = [each.value for each in (offsets, indices, values)]
        return self._new(made, kind="csr", shape=shape, nonzeros=nonzeros.value, places=places)

    def cusparseDestroySpMat(self, matrix: Any) -> int:
        del self.objects[matrix.value]
        return 0

    def cusparseSpGEMM_createDescr(self, made: Any) -> int:
        return self._new(made, kind="product", estimated=False, result=None)

    def cusparseSpGEMM_destroyDescr(self, state: Any) -> int:
        del self.objects[state.value]
        return 0

    def cusparseSpGEMM_workEstimation(self, *arguments: Any) -> int:
        *_, state, size, buffer = arguments
        if buffer.value is None:
            size._obj.value = WORKSPACE
            return 0
        self.calls.append("estimate")
        ctypes.memset(buffer.value, 1, WORKSPACE)
        self._of(state)["estimated"] = True
        return 0

    def cusparseSpGEMM_compute(self, *arguments: Any) -> int:
        _, _, _, alpha, left, right, beta, result, _, _, state, size, buffer = arguments
        if not self._of(state)["estimated"] or (alpha._obj.value, beta._obj.value) != (1.0, 0.0):
            return INVALID_VALUE
        if buffer.value is None:
            size._obj.value = 2 * WORKSPACE
            return 0
        self.calls.append("compute")
        ctypes.memset(buffer.value, 1, 2 * WORKSPACE)
        product = self._read(left) @ self._read(right)
        product.sort_indices()
        if product.nnz > self.most_entries:
            return ALLOC_FAILED
        self._of(state)["result"] = product
        self._of(result)["nonzeros"] = product.nnz
        return 0

    def cusparseSpMatGetSize(self, matrix: Any, rows: Any, columns: Any, nonzeros: Any) -> int:
        held = self._of(matrix)
        rows._obj.value, columns._obj.value = held["shape"]
        nonzeros._obj.value = held["nonzeros"]
        return 0

    def cusparseCsrSetPointers(self, matrix: Any, *places: Any) -> int:
        self._of(matrix)["places"] = [each.value for each in places]
        return 0

    def cusparseSpGEMM_copy(self, *arguments: Any) -> int:
        _, _, _, _, _, _, _, result, _, _, state = arguments
        product = self._of(state)["result"]
        arrays = product.indptr.astype(np.int32), product.indices.astype(np.int32), product.data
        for place, array in zip(self._of(result)["places"], arrays, strict=True):
            if array.nbytes:
                ctypes.memmove(place, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        return 0

    def cusparseCreateDnMat(
        self, made: Any, rows: Any, columns: Any, stride: Any, *more: Any
    ) -> int:
        values, value_type, order = more
        if (value_type.value, order.value, stride.value) != (0, 2, columns.value):
            return INVALID_VALUE
        shape = rows.value, columns.value
        return self._new(made, kind="dense", shape=shape, place=values.value)

    def cusparseDestroyDnMat(self, matrix: Any) -> int:
        del self.objects[matrix.value]
        return 0

    def cusparseSpMM_bufferSize(self, *arguments: Any) -> int:
        arguments[-1]._obj.value = WORKSPACE
        return 0

    def cusparseSpMM(self, *arguments: Any) -> int:
        _, _, _, _, left, right, _, result, _, _, buffer = arguments
        ctypes.memset(buffer.value, 1, WORKSPACE)
        self._dense(result)[...] = self._read(left) @ self._dense(right)
        return 0

    def _new(self, made: Any, **state: Any) -> int:
        made._obj.value = next(self._numbers)
        self.objects[made._obj.value] = state
        return 0

    def _of(self, reference: Any) -> dict[str, Any]:
        return self.objects[reference.value]

    def _read(self, matrix: Any) -> Any:
        held = self._of(matrix)
        rows, nonzeros = held["shape"][0], held["nonzeros"]
        offsets, columns, values = held["places"]
        arrays = (
            _array(values, ctypes.c_float, nonzeros),
            _array(columns, ctypes.c_int, nonzeros),
            _array(offsets, ctypes.c_int, rows + 1),
        )
        assert arrays[2][-1] == nonzeros
        return sp.csr_array(tuple(map(np.copy, arrays)), shape=held["shape"])

    def _dense(self, matrix: Any) -> Any:
        held = self._of(matrix)
        rows, columns = held["shape"]
        return _array(held["place"], ctypes.c_float, rows * columns).reshape(rows, columns)


def _array(address: int | None, kind: Any, count: int) -> Any:
    if not count:
        return np.zeros(0, kind)
    return np.ctypeslib.as_array((kind * count).from_address(address))
