"""CSR arrays at the border: checked once, then trusted by everything native."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from espalier.errors import NetworkError

MAX_WIDTH = int(np.iinfo(np.int32).max)


class CsrArrays(NamedTuple):
    """Read-only arrays of a CSR matrix: columns rise within a row, all values are finite."""

    row_offsets: NDArray[np.int64]
    column_indices: NDArray[np.int32]
    values: NDArray[np.float32]
    inputs: int


def read_csr(weights: Any) -> CsrArrays:
    """The arrays of anything scipy turns into CSR, shared where they fit.

    Raises:
        NetworkError: not a real matrix, or one that `check_csr` refuses.
    """
    try:
        csr = sp.csr_array(weights)
    except (TypeError, ValueError) as error:
        raise NetworkError(
            f"weights is a {type(weights).__name__} that scipy cannot read as a 2-d real "
            f"matrix: {error}"
        ) from error
    if csr.ndim != 2:
        raise NetworkError(f"weights has {csr.ndim} dimensions, wanted [outputs, inputs]")
    if csr.dtype.kind not in "biuf":
        raise NetworkError(f"weights holds {csr.dtype}, wanted real numbers")
    if max(csr.shape) > MAX_WIDTH:
        raise NetworkError(f"weights is {csr.shape}, wanted at most {MAX_WIDTH:,} each way")
    if len(csr.indptr) != csr.shape[0] + 1:
        raise NetworkError(
            f"weights has {csr.shape[0]} rows and {len(csr.indptr)} row offsets, "
            f"wanted {csr.shape[0] + 1}"
        )
    return check_csr(csr.indptr, csr.indices, csr.data, csr.shape[1])


def check_csr(
    row_offsets: ArrayLike, column_indices: ArrayLike, values: ArrayLike, inputs: int
) -> CsrArrays:
    """Three CSR arrays as the kernels want them; columns in disorder are sorted.

    Raises:
        NetworkError: offsets that do not rise, a column out of range or twice in a row, or a
            value that is not finite in float32.
    """
    offsets, columns = (
        array.astype(array.dtype.newbyteorder("="), copy=False)
        for array in (np.asarray(row_offsets), np.asarray(column_indices))
    )
    _check_structure(offsets, columns, np.shape(values), inputs)
    offsets, columns = offsets.astype(np.int64, copy=False), columns.astype(np.int32, copy=False)
    with np.errstate(over="ignore"):  # what becomes infinite is refused below, by name
        numbers = np.asarray(values, dtype=np.float32)
    if not _columns_rise(offsets, columns):
        order = np.lexsort((columns, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))))
        columns, numbers = columns[order], numbers[order]
        _check_no_duplicates(offsets, columns)
    finite = np.isfinite(numbers)
    if not finite.all():
        position = int(np.flatnonzero(~finite)[0])
        raise NetworkError(
            f"weights[{_row_of(offsets, position)}, {columns[position]}] is "
            f"{numbers[position]}, wanted a number finite in float32"
        )
    return CsrArrays(_read_only(offsets), _read_only(columns), _read_only(numbers), int(inputs))


def entries_of(
    row_offsets: NDArray[Any], rows: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of some rows, row behind row: their own offsets, and where each of them lies.

    >>> offsets, entries = entries_of(np.array([0, 2, 3, 5]), np.array([2, 0]))
    >>> offsets.tolist(), entries.tolist()
    ([0, 2, 4], [3, 4, 0, 1])
    """
    counts = np.diff(row_offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    entries = np.arange(offsets[-1]) + np.repeat(row_offsets[rows] - offsets[:-1], counts)
    return offsets, entries


def as_scipy(arrays: CsrArrays) -> sp.csr_array[np.float32, tuple[int, int]]:
    """The same as scipy CSR, sharing columns and values."""
    offsets, columns, values, inputs = arrays
    kind = np.int32 if len(values) <= MAX_WIDTH else np.int64  # scipy wants one type for both
    structure = _read_only(columns.astype(kind, copy=False)), _read_only(offsets.astype(kind))
    result: Any = sp.csr_array((values, *structure), shape=(len(offsets) - 1, inputs), copy=False)
    result.has_canonical_format = True
    return cast("sp.csr_array[np.float32, tuple[int, int]]", result)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_structure(
    offsets: NDArray[Any], columns: NDArray[Any], value_shape: tuple[int, ...], inputs: int
) -> None:
    """Offsets rise from 0 to the number of values and every column lies in the matrix."""
    for name, array in (("row_offsets", offsets), ("column_indices", columns)):
        if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
            raise NetworkError(
                f"{name} is {array.dtype} {list(array.shape)}, wanted whole numbers in one row"
            )
    if not 0 <= inputs <= MAX_WIDTH or len(offsets) - 1 > MAX_WIDTH:
        raise NetworkError(
            f"weights is {len(offsets) - 1} x {inputs}, wanted 0 to {MAX_WIDTH:,} each way"
        )
    if value_shape != columns.shape:
        raise NetworkError(f"{len(columns)} column indices came with values {list(value_shape)}")
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(columns):
        raise NetworkError(
            f"row offsets must run from 0 to {len(columns)}, "
            f"came from {offsets[:1].tolist()} to {offsets[-1:].tolist()}"
        )
    falls = offsets[1:] < offsets[:-1]
    if falls.any():
        row = int(np.flatnonzero(falls)[0])
        raise NetworkError(f"row offsets fall at row {row}, wanted rising offsets")
    unsigned = columns.view(f"u{columns.dtype.itemsize}")  # negative ones become the largest
    if len(columns) and unsigned.max() >= inputs:
        bad = int(columns[np.flatnonzero((columns < 0) | (columns >= inputs))[0]])
        raise NetworkError(f"column index {bad} lies outside 0 ... {inputs - 1}")


def _columns_rise(offsets: NDArray[Any], columns: NDArray[Any]) -> bool:
    """Whether columns rise strictly within each row: sorted, and none twice."""
    rises = np.empty(len(columns) + 1, dtype=bool)
    np.greater(columns[1:], columns[:-1], out=rises[1:-1])
    rises[offsets] = True  # where a row starts there is nothing to rise from
    return bool(rises.all())


def _check_no_duplicates(offsets: NDArray[Any], columns: NDArray[Any]) -> None:
    """In sorted rows an equal pair within a row is a duplicate."""
    for position in np.flatnonzero(columns[1:] == columns[:-1]) + 1:
        row = _row_of(offsets, int(position))
        if position > offsets[row]:
            raise NetworkError(
                f"weights[{row}, {columns[position]}] appears twice; "
                "add duplicates up first, e.g. with matrix.sum_duplicates()"
            )


def _row_of(offsets: NDArray[Any], position: int) -> int:
    return int(np.searchsorted(offsets, position, side="right")) - 1
