"""The caller's samples at the border: checked once, then in the form the kernels take."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError

Samples = _native.Samples
Matrix: TypeAlias = "NDArray[np.float32] | sp.csr_array[np.float32, tuple[int, int]]"


def check_samples(x: Any, width: int) -> Matrix:
    """Samples as C-contiguous float32, or as CSR with float32 values; copied only if need be.

    Arguments:
        x: ``[samples, width]``, anything numpy reads as a real matrix, or scipy sparse.

    Raises:
        InputError: not a real matrix, of another width, or a CSR matrix with damaged offsets.
    """
    matrix: Any = x
    if not sp.issparse(x):
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
            return np.require(matrix, np.float32, ["C", "ALIGNED"])
        return _check_csr(matrix)


def density(x: Matrix) -> float:
    """The share of the entries that are stored."""
    return 1.0 if isinstance(x, np.ndarray) else x.nnz / (x.shape[0] * x.shape[1])


def native_samples(x: Matrix, index: NDArray[np.int64] | None) -> Samples:
    """The rows `index` of a matrix, None for all, as the engine takes them."""
    if isinstance(x, np.ndarray):
        return _native.dense_samples(x, index)
    return sparse_samples(x.indptr, x.indices, x.data, x.shape[1], index)


def sparse_samples(
    row_offsets: NDArray[Any],
    column_indices: NDArray[Any],
    values: NDArray[np.float32],
    width: int,
    index: NDArray[np.int64] | None = None,
) -> Samples:
    """The rows `index` of a CSR matrix, None for all, as the engine takes them."""
    return _native.sparse_samples(row_offsets, column_indices, values, width, index)


def name_bad_sample(x: Matrix) -> InputError:
    """The error for what the kernels refused, naming the first number at fault."""
    named = _name_in_dense(x) if isinstance(x, np.ndarray) else _name_in_csr(x)
    return named or InputError(
        "activations grow beyond what float32 holds; scale x or the weights down, or give the "
        "layers a clip"
    )


def _name_in_dense(x: NDArray[np.float32]) -> InputError | None:
    for row, column in np.argwhere(~np.isfinite(x))[:1]:
        return _not_finite(row, column, x[row, column])
    return None


def _name_in_csr(x: Any) -> InputError | None:
    values, columns = x.data[: x.indptr[-1]], x.indices[: x.indptr[-1]]
    outside = (columns < 0) | (columns >= x.shape[1])
    for position in np.flatnonzero(outside | ~np.isfinite(values))[:1]:
        row = int(np.searchsorted(x.indptr, position, side="right")) - 1
        if not outside[position]:
            return _not_finite(row, columns[position], values[position])
        return InputError(
            f"x has column index {columns[position]} in row {row}, wanted 0 ... {x.shape[1] - 1}; "
            "is the CSR matrix damaged?"
        )
    return None


def _not_finite(row: int, column: int, value: np.float32) -> InputError:
    return InputError(f"x[{row}, {column}] is {value}, wanted a number finite in float32")


def _check_csr(x: Any) -> sp.csr_array[np.float32, tuple[int, int]]:
    """CSR whose offsets are sound; its columns are checked where the kernels read them."""
    matrix = x if x.format == "csr" else x.tocsr()
    offsets, columns, values = matrix.indptr, matrix.indices, matrix.data
    rows, stored = matrix.shape[0], min(len(columns), len(values))
    if offsets.dtype.kind not in "iu" or columns.dtype.kind not in "iu":
        raise InputError(
            f"x is CSR with {offsets.dtype} offsets and {columns.dtype} columns, wanted integers"
        )
    if len(offsets) != rows + 1 or offsets[0] != 0 or offsets[-1] > stored:
        raise InputError(
            f"x is CSR with {len(offsets)} row offsets from {offsets[:1]} to {offsets[-1:]}, "
            f"wanted {rows + 1} from 0 to at most {stored}; is the matrix damaged?"
        )
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(falls):
        raise InputError(f"x is CSR whose row offsets fall at row {falls[0]}, wanted rising ones")
    index = np.int32 if offsets.dtype == columns.dtype == np.int32 else np.int64
    wanted = [
        np.require(array, dtype, ["C", "ALIGNED"])
        for array, dtype in ((values, np.float32), (columns, index), (offsets, index))
    ]
    if all(new is old for new, old in zip(wanted, (values, columns, offsets), strict=True)):
        return matrix  # type: ignore[no-any-return]
    checked = sp.csr_array(matrix.shape, dtype=np.float32)
    checked.data, checked.indices, checked.indptr = wanted  # scipy's own way would narrow them
    return checked
