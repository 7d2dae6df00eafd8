"""Text entries `index index [value]` to CSR and back, by the native parser and formatter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from espalier.errors import FileError
from espalier.kernels.text import EntryParser
from espalier.kernels.text import format_entries as format_rows
from espalier.network import Layer

Matrix = sp.csr_array[np.float32, tuple[int, int]]
Shape = tuple[int, int]

# An index far beyond the number of entries is taken for damage, not for a size, unless the
# caller names the size.
LARGEST_ASSUMED_SIZE = 1 << 20
FORMAT_ENTRIES = 1 << 18


class Entries:
    """Parsed entries, not yet a matrix: most text does not hold its shape.

    Attributes:
        name: the file, for messages.
        shape: ``(rows, columns)`` where the file says so, as Matrix Market does, or None.
    """

    def __init__(self, parser: Any, name: str, shape: Shape | None = None) -> None:
        self._parser, self.name, self.shape = parser, name, shape
        self._layer: Layer | None = None

    @property
    def count(self) -> int:
        """Number of entries."""
        return int(self._parser.entries)

    @property
    def largest_row(self) -> int:
        """Largest row, counted from 1; 0 without entries."""
        return int(self._parser.largest_row)

    @property
    def largest_column(self) -> int:
        """Largest column, counted from 1; 0 without entries."""
        return int(self._parser.largest_column)

    def bare_layer(self, shape: Shape) -> Layer:
        """The entries as a layer of bias 0; made once, for one shape."""
        came = self.shape
        if self._layer is not None:
            came = self._layer.outputs, self._layer.inputs
        if came is not None and came != shape:
            raise FileError(
                f"{self.name} is a layer of {came[1]} inputs and {came[0]} outputs, wanted "
                f"{shape[1]} and {shape[0]}"
            )
        if self._layer is None:
            self._layer = Layer(self.matrix(*shape), 0.0)
        return self._layer

    def matrix(self, rows: int, columns: int) -> Matrix:
        """Hand over the entries, once, as a float32 CSR array ``[rows, columns]``."""
        for what, largest, size in (
            ("row", self.largest_row, rows),
            ("column", self.largest_column, columns),
        ):
            if largest > size:
                raise FileError(f"{self.name} holds {what} {largest}, wanted 1 ... {size}")
        try:
            row_offsets, column_indices, values = self._parser.take(rows)
        except ValueError as error:
            raise FileError(f"{self.name}: {error}") from error
        if len(values) <= np.iinfo(np.int32).max:
            row_offsets = row_offsets.astype(np.int32)
        matrix = sp.csr_array((values, column_indices, row_offsets), shape=(rows, columns))
        matrix.has_canonical_format = True
        return matrix

    def assumed_size(self, largest: int, argument: str) -> int:
        """A size taken from the largest index, refused where it looks like damage."""
        if largest > max(LARGEST_ASSUMED_SIZE, 4 * self.count):
            raise FileError(
                f"{self.name} has index {largest:,} but only {self.count:,} entries; "
                f"if that is right, say so with {argument}="
            )
        return largest


def parse_entries(
    chunks: Iterable[bytes | memoryview],
    name: str,
    *,
    row_first: bool,
    has_value: bool = True,
    rows: int = 0,
    columns: int = 0,
    line: int = 0,
    shape: Shape | None = None,
) -> Entries:
    """Parse text that arrives in chunks.

    Arguments:
        chunks: the text, cut anywhere.
        name: the file, for messages.
        row_first: whether a line starts with its row rather than its column.
        has_value: whether lines hold a value; without one it is 1.
        rows: largest row allowed, 0 for any.
        columns: largest column allowed, 0 for any.
        line: lines of the file before the first chunk.
        shape: ``(rows, columns)`` where the file says so.

    Raises:
        FileError: naming the file, the line and the fault.

    >>> parse_entries([b"1 3 0", b".5"], "a", row_first=True).matrix(1, 3).toarray().tolist()
    [[0.0, 0.0, 0.5]]
    """
    parser = EntryParser(row_first, has_value, rows, columns, line)
    try:
        for chunk in chunks:
            parser.feed(np.frombuffer(chunk, np.uint8))
        parser.finish()
    except ValueError as error:
        raise FileError(f"{name}, {error}") from error
    return Entries(parser, name, shape)


def format_entries(matrix: Any, *, row_first: bool) -> Iterator[bytes]:
    """Yield the lines of a CSR array, rows in order, values that read back bit for bit."""
    row_offsets = np.asarray(matrix.indptr, dtype=np.int64)
    start, rows = 0, matrix.shape[0]
    while start < rows:
        limit = row_offsets[start] + FORMAT_ENTRIES
        stop = max(start + 1, int(np.searchsorted(row_offsets, limit, side="right")) - 1)
        yield format_rows(
            row_first,
            True,
            row_offsets[start : stop + 1],
            matrix.indices,
            matrix.data,
            start + 1,
        )
        start = stop
