"""What the products with a pattern must compute, in float64 and as plainly as it can be said."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def dense(row_offsets: Any, column_indices: Any, values: Any, columns: int) -> Doubles:
    """The weights ``[rows, columns]`` with their zeros.

    >>> dense([0, 1, 3], [1, 0, 1], [2.0, 3.0, 4.0], columns=2).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    weights = np.zeros((len(row_offsets) - 1, columns))
    for row in range(len(weights)):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            weights[row, column_indices[entry]] = values[entry]
    return weights


def spmm(weights: Doubles, x: Any, bias: Any = None) -> Doubles:
    """``x @ weights.T + bias``."""
    y: Doubles = np.asarray(x, np.float64) @ weights.T
    return y if bias is None else y + np.asarray(bias, np.float64)


def spmm_transposed(weights: Doubles, dy: Any) -> Doubles:
    """``dy @ weights``."""
    dx: Doubles = np.asarray(dy, np.float64) @ weights
    return dx


def sddmm(row_offsets: Any, column_indices: Any, dy: Any, x: Any) -> Doubles:
    """For each entry, the dot product over the batch of its row of ``dy`` and its column of x."""
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    gradient = np.zeros(len(column_indices))
    for row in range(len(row_offsets) - 1):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            gradient[entry] = dy[:, row] @ x[:, column_indices[entry]]
    return gradient
