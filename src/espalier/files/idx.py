"""IDX, the format of MNIST: a big-endian header of sizes, then bytes. Plain or gzip."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from espalier.errors import FileError
from espalier.files.streams import CHUNK_BYTES, open_stream

UNSIGNED_BYTE = 0x08


def load_images(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read grey images from an IDX file.

    Arguments:
        path: IDX of three dimensions, plain or gzip.

    Returns:
        uint8 ``[images, rows, columns]``, 0 ... 255 as stored.

    Raises:
        FileError: not such a file, or cut short.
    """
    return _load(Path(path), 3, "images")


def load_labels(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Read class numbers from an IDX file.

    Arguments:
        path: IDX of one dimension, plain or gzip.

    Returns:
        int64 ``[labels]``.

    Raises:
        FileError: not such a file, or cut short.
    """
    return _load(Path(path), 1, "labels").astype(np.int64)


def _load(path: Path, dimensions: int, what: str) -> NDArray[np.uint8]:
    with open_stream(path) as (stream, _):
        header = stream.read(4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
            raise FileError(f"{path} is not an IDX file: it starts with {header[:4]!r}")
        if header[2] != UNSIGNED_BYTE or header[3] != dimensions:
            raise FileError(
                f"{path} is IDX of type {header[2]:#04x} with {header[3]} dimensions, wanted "
                f"bytes (0x08) with {dimensions} for {what}"
            )
        shape = tuple(int(size) for size in np.frombuffer(header, ">i4", offset=4))
        if min(shape) < 0:
            raise FileError(f"{path} claims a negative size: {shape}")
        wanted = int(np.prod(shape, dtype=object))
        content = bytearray()
        # The header's sizes are a claim: memory grows with what the file really holds.
        while chunk := stream.read(min(CHUNK_BYTES, wanted + 1 - len(content))):
            content += chunk
            if len(content) > wanted:
                break
    if len(content) != wanted:
        found = "more" if len(content) > wanted else f"{len(content):,}"
        raise FileError(f"{path} holds {found} bytes of {what}, its header says {wanted:,}")
    return np.frombuffer(bytes(content), np.uint8).reshape(shape)
