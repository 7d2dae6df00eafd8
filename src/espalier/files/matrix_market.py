"""Matrix Market coordinate files. A layer's file is ``[inputs, outputs]``, as the challenge's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from espalier.errors import FileError
from espalier.files.text import Entries, format_entries, parse_entries
from espalier.network.csr import MAX_WIDTH

BANNER = "%%MatrixMarket matrix coordinate"
FIELDS = ("real", "double", "integer", "pattern")
RECORD_COMMENT = "%espalier "
LONGEST_LINE = 1 << 28


@dataclass(frozen=True)
class Header:
    """Sizes, and the JSON record of a layer where a comment by espalier holds one."""

    rows: int
    columns: int
    entries: int
    has_value: bool
    lines: int
    record: str | None


def read_header(chunks: Iterator[bytes | memoryview], name: str) -> tuple[Header, bytes]:
    """Read up to and with the size line; returns the header and the text read beyond it.

    Raises:
        FileError: not a general coordinate matrix of real numbers, or sizes that are none.
    """
    lines = _HeaderLines(chunks, name)
    banner = lines.next().decode("latin-1").lower().split()
    if banner[:3] != BANNER.lower().split() or not set(banner[3:4]) & set(FIELDS):
        raise FileError(f"{name}, line 1: wanted '{BANNER} real general', or integer or pattern")
    if banner[4:] != ["general"]:
        raise FileError(
            f"{name}, line 1: the matrix is {' '.join(banner[4:])}, wanted general; "
            "scipy.io.mmread and mmwrite(symmetry='general') write it out in full"
        )
    record = None
    while (line := lines.next()).startswith(b"%") or not line:
        if line.startswith(RECORD_COMMENT.encode()):
            record = line[len(RECORD_COMMENT) :].decode("utf-8", "replace")
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isdigit() and len(size) < 16 for size in sizes):
        shown = line[:60].decode("latin-1")
        raise FileError(
            f"{name}, line {lines.count}: '{shown}', wanted `rows columns entries`, none negative"
        )
    rows, columns, entries = (int(size) for size in sizes)
    if max(rows, columns) > MAX_WIDTH:
        raise FileError(
            f"{name}, line {lines.count}: {rows} x {columns} is too large, wanted at most "
            f"{MAX_WIDTH:,} each way"
        )
    header = Header(rows, columns, entries, banner[3] != "pattern", lines.count, record)
    return header, lines.rest


def read_entries(chunks: Iterable[bytes | memoryview], name: str, *, row_first: bool) -> Entries:
    """Read a file as CSR rows of its rows, or (not ``row_first``) as CSR rows of its columns.

    Raises:
        FileError: naming the file, the line and the fault.
    """
    text = iter(chunks)
    header, rest = read_header(text, name)
    shape = (header.rows, header.columns) if row_first else (header.columns, header.rows)
    # A limit of 0 means none, so that an empty side falls to Entries.matrix to check.
    entries = parse_entries(
        chain([rest], text),
        name,
        row_first=row_first,
        has_value=header.has_value,
        rows=shape[0],
        columns=shape[1],
        line=header.lines,
        shape=shape,
    )
    if entries.count != header.entries:
        raise FileError(
            f"{name} holds {entries.count:,} entries, its size line says {header.entries:,}: "
            "is it cut short?"
        )
    return entries


def format_matrix(matrix: Any, *, row_first: bool, record: str | None = None) -> Iterator[bytes]:
    """Yield the file of a CSR array; a ``record`` becomes a comment, which other readers skip."""
    rows, columns = matrix.shape if row_first else matrix.shape[::-1]
    yield f"{BANNER} real general\n".encode()
    if record is not None:
        yield f"{RECORD_COMMENT}{record}\n".encode()
    yield f"{rows} {columns} {matrix.nnz}\n".encode()
    yield from format_entries(matrix, row_first=row_first)


class _HeaderLines:
    """Lines from the start of chunked text."""

    def __init__(self, chunks: Iterator[bytes | memoryview], name: str) -> None:
        self._chunks, self._name = chunks, name
        self._text, self._position = b"", 0
        self.count = 0

    @property
    def rest(self) -> bytes:
        """What was read beyond the lines taken."""
        return self._text[self._position :]

    def next(self) -> bytes:
        """The next line, stripped."""
        while (stop := self._text.find(b"\n", self._position)) < 0:
            chunk = next(self._chunks, b"")
            if not chunk or len(self._text) - self._position > LONGEST_LINE:
                raise FileError(f"{self._name} ends before the size line of a Matrix Market file")
            self._text, self._position = self.rest + chunk, 0
        line = self._text[self._position : stop].strip()
        self._position = stop + 1
        self.count += 1
        return line
