"""Category lists: one image number a line, counted from 1 in the file, from 0 in Python."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.streams import open_stream
from espalier.kernels.text import format_indices, parse_indices


def load_categories(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Read a category list.

    Arguments:
        path: text, plain or gzip; one number a line, from 1.

    Returns:
        int64 ``[categories]``, counted from 0, in the order of the file.

    Raises:
        FileError: a line that is not such a number, or a number that comes twice.
    """
    path = Path(path)
    with open_stream(path) as (stream, _):
        try:
            categories: NDArray[np.int64] = parse_indices(np.frombuffer(stream.read(), np.uint8))
        except ValueError as error:
            raise FileError(f"{path}, {error}") from error
    numbers, counts = np.unique(categories, return_counts=True)
    if len(numbers) < len(categories):
        raise FileError(f"{path} lists number {numbers[counts > 1][0] + 1} more than once")
    return categories


def save_categories(categories: ArrayLike, path: str | os.PathLike[str]) -> None:
    """Write a category list.

    Arguments:
        categories: integers ``[categories]``, counted from 0.
        path: the file to write or replace; numbers in it count from 1.

    Raises:
        InputError: not a list of integers from 0.
        FileError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_categories([0, 26], folder + "/categories.tsv")
    ...     load_categories(folder + "/categories.tsv").tolist()
    [0, 26]
    """
    numbers = np.asarray(categories)
    if numbers.size == 0:
        numbers = numbers.astype(np.int64).ravel()
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(
            f"categories is {numbers.dtype} with {numbers.ndim} dimensions, wanted a list of "
            "integers; a mask becomes one with numpy.flatnonzero"
        )
    if numbers.size and numbers.min() < 0:
        raise InputError(f"categories holds {numbers.min()}, wanted numbers from 0")
    with replacing_file(Path(path)) as file:
        file.write(format_indices(np.ascontiguousarray(numbers, dtype=np.int64)))
