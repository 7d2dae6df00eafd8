"""The caller's samples at the border: checked once, then in the form the kernels take."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError

Matrix: TypeAlias = "NDArray[np.float32] | sp.csr_array[np.float32, tuple[int, int]]"


def check_samples(x: Any, width: int) -> Matrix:
    """Samples as C-contiguous float32, or as CSR with float32 values; copied only if need be.

    Arguments:
        x: ``[samples, width]``, anything numpy reads as a real matrix, or scipy sparse.

    Raises:
        InputError: not a real matrix, or of another width.
    """
    matrix: Any
    if sp.issparse(x):
        matrix = _check_csr(x)
    else:
        try:
            matrix = np.asarray(x)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"x is a {type(x).__name__} that numpy cannot read: {error}"
            ) from error
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"x holds {matrix.dtype}, wanted real numbers")
    if matrix.ndim != 2:
        fix = "; one sample is x[None, :]" if matrix.ndim == 1 else ""
        raise InputError(f"x has shape {matrix.shape}, wanted [samples, {width}]{fix}")
    if matrix.shape[1] != width:
        hint = "; did you transpose?" if matrix.shape[0] == width else ""
        raise InputError(f"x has {matrix.shape[1]} columns, the network reads {width}{hint}")
    with np.errstate(over="ignore"):  # what overflows is found as not finite by the kernels
        if isinstance(matrix, np.ndarray):
            return np.ascontiguousarray(matrix, dtype=np.float32)
        narrowed: sp.csr_array[np.float32, tuple[int, int]] = matrix.astype(np.float32, copy=False)
        return narrowed


def native_samples(x: Matrix, index: NDArray[np.int64] | None) -> _native.Samples:
    """The rows `index` of a matrix, None for all, as the engine takes them."""
    if isinstance(x, np.ndarray):
        return _native.dense_samples(x, index)
    return _native.sparse_samples(x.indptr, x.indices, x.data, x.shape[1], index)


def name_bad_sample(x: Matrix) -> InputError:
    """The error for a value that is not finite, naming the first one."""
    values = x if isinstance(x, np.ndarray) else x.data
    bad = np.flatnonzero(~np.isfinite(values.ravel()))
    if len(bad) == 0:
        return InputError("x has a column index outside its own width; is the CSR matrix damaged?")
    if isinstance(x, np.ndarray):
        row, column = divmod(int(bad[0]), x.shape[1])
    else:
        row = int(np.searchsorted(x.indptr, bad[0], side="right")) - 1
        column = int(x.indices[bad[0]])
    value = values.ravel()[bad[0]]
    return InputError(f"x[{row}, {column}] is {value}, wanted a number finite in float32")


def _check_csr(x: Any) -> Any:
    matrix = x if x.format == "csr" else x.tocsr()
    if len(matrix.indptr) != matrix.shape[0] + 1 or matrix.indptr[0] != 0:
        raise InputError("x is a CSR matrix with damaged row offsets")
    if matrix.indptr.dtype != matrix.indices.dtype or matrix.indptr.dtype.itemsize not in (4, 8):
        matrix = sp.csr_array(
            (matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)),
            shape=matrix.shape,
        )
    return matrix
