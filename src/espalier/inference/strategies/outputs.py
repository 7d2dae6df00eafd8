"""Outputs of a run that kept its samples sparse to the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.inference.result import Batch, Outputs, Shortcut
from espalier.inference.row_map import ZERO, RowMap, Rows
from espalier.simplify.fold import Expansion


def sparse_outputs(
    samples: int, left: NDArray[np.int64], alive: NDArray[np.bool_], final: Any
) -> Outputs:
    """The outputs of all samples.

    Arguments:
        left: the sample of each row of `final`, a CSR matrix.
        alive: which of those rows are not all zero.
    """
    of_sample = np.full(samples, ZERO, np.int64)
    of_sample[left[alive]] = np.arange(int(alive.sum()))
    matrix = np.ascontiguousarray(final[alive].toarray())
    rows = Rows(matrix, np.arange(len(matrix), dtype=np.int64))
    batch = Batch(RowMap(of_sample), rows, np.ones(len(matrix), bool))
    return Outputs([batch], Expansion.identity(final.shape[1]), None)


def zero_filter(samples: int, left: NDArray[np.int64]) -> Shortcut:
    """What dropping dead samples saved.

    Arguments:
        left: the samples that were not dropped.
    """
    return Shortcut(
        "zero filter",
        "relu(bias) = 0 in every later layer",
        f"{samples - len(left):,} samples dropped",
        len(left) < samples,
    )
