"""Bytes from files: gzip known by its content, read ahead in a thread, failures named by file."""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from espalier.errors import FileError
from espalier.progress import Progress

GzipFile: Any
GzipError: Any
try:
    from isal import igzip, isal_zlib
except ImportError:  # isal is not built for this processor; the standard library is slower
    GzipFile, GzipError, GZIP_LEVEL = gzip.GzipFile, zlib.error, 6
else:
    GzipFile, GzipError, GZIP_LEVEL = igzip.IGzipFile, isal_zlib.error, 2

T = TypeVar("T")

CHUNK_BYTES = 1 << 20  # smaller ones cost more in handing over than they gain in cache
GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn every failure to read ``path`` into a `FileError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist") from error
    except EOFError as error:
        raise FileError(f"{path} is cut short: its gzip stream has no end; copy it anew") from error
    except (gzip.BadGzipFile, GzipError) as error:
        raise FileError(f"{path} holds damaged gzip data ({error}); copy it anew") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def open_stream(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file, decompressed when its content is gzip: the stream, and the raw file below."""
    with reading(path), path.open("rb") as raw:
        magic = raw.read(len(GZIP_MAGIC))
        raw.seek(0)
        if magic != GZIP_MAGIC:
            yield raw, raw
            return
        with GzipFile(fileobj=raw, mode="rb") as stream:
            yield stream, raw


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a stream in pieces."""
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


def read_chunks(path: Path, progress: Progress | None = None) -> Generator[bytes]:
    """Yield the decompressed content of a file, read by a thread ahead of the caller.

    Arguments:
        path: a file, plain or gzip.
        progress: called as ``progress(bytes read from disk, bytes on disk)``.
    """

    def chunks() -> Iterator[tuple[bytes, int]]:
        with open_stream(path) as (stream, raw):
            for chunk in chunks_of(stream):
                yield chunk, raw.tell()

    with closing(read_ahead(chunks())) as pairs:
        for chunk, position in pairs:
            yield chunk
            if progress:
                progress(position, path.stat().st_size)


_END: Any = object()


def read_ahead(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Make ``items`` in a thread of their own, at most ``depth`` of them ahead of the caller.

    >>> list(read_ahead(range(3)))
    [0, 1, 2]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "espalier-read-ahead") as reader:
        ahead = deque(reader.submit(next, iterator, _END) for _ in range(depth))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(reader.submit(next, iterator, _END))
            yield item
