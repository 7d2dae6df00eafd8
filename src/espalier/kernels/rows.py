"""Equal rows of weights and of samples, bit for bit; columns of weights folded into fewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.kernels.spmm import csr_arrays
from espalier.network import Layer

MAX_COLUMNS = 2**31 - 1
# What `classify_samples` says of a row.
ALL_ZERO, ALL_CONSTANT = 1, 2


def first_equal_rows(layer: Layer) -> NDArray[np.int32]:
    """For each row of a layer, the first row of the same weights and bias, bit for bit.

    >>> first_equal_rows(Layer([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], bias=0.5)).tolist()
    [0, 1, 0]
    """
    return np.asarray(_native.first_equal_rows(*csr_arrays(layer), layer.bias))


def first_equal_patterns(
    row_offsets: NDArray[np.int64],
    column_indices: NDArray[np.int32],
    keys: NDArray[np.float32] | None = None,
) -> NDArray[np.int32]:
    """For each row of a CSR matrix, the first row of the same columns, whatever their values.

    Arguments:
        keys: float32 ``[rows]``, equal bit for bit as well, if given.

    >>> offsets, columns = np.array([0, 1, 2, 3]), np.array([4, 4, 4], np.int32)
    >>> first_equal_patterns(offsets, columns).tolist()
    [0, 0, 0]
    >>> first_equal_patterns(offsets, columns, np.array([0, 1, 0], np.float32)).tolist()
    [0, 1, 0]
    """
    columns = np.ascontiguousarray(column_indices)
    equal_values = np.zeros(len(columns), np.float32)
    return np.asarray(
        _native.first_equal_rows(row_offsets, columns, equal_values, MAX_COLUMNS, keys)
    )


def fold_columns(
    layer: Layer,
    rows: NDArray[np.int32],
    classes: NDArray[np.int32],
    constants: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Some rows of a layer over fewer columns.

    Arguments:
        rows: int32, the rows to keep.
        classes: int32 ``[inputs]``, the new column of each column, whose weights add up; -1 where
            the input is a constant, which goes into the bias.
        constants: float32 ``[inputs]``, the value of those.

    Returns:
        Row offsets, column indices, values and bias. Sums may be infinite.
    """
    return _native.fold_columns(*csr_arrays(layer), layer.bias, rows, classes, constants)


def first_equal_samples(
    matrix: NDArray[np.float32], index: NDArray[np.int64], threads: int
) -> NDArray[np.int64]:
    """For each of the rows ``matrix[index]``, the first of them that is equal."""
    return np.asarray(_native.first_equal_samples(matrix, index, threads))


def classify_samples(
    matrix: NDArray[np.float32], index: NDArray[np.int64], constant: float, threads: int
) -> NDArray[np.uint8]:
    """Of each of the rows ``matrix[index]``: `ALL_ZERO`, `ALL_CONSTANT`, or 0 for neither."""
    return np.asarray(_native.classify_samples(matrix, index, constant, threads))
