"""Batches of inputs: sparse text, Matrix Market, .npy, .npz, IDX images; known by content."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import FileError, InputError
from espalier.files import matrix_market
from espalier.files.idx import load_images
from espalier.files.streams import open_stream, read_chunks
from espalier.files.text import Matrix, parse_entries
from espalier.progress import Progress

Inputs = Matrix | NDArray[np.float32]


def load_inputs(
    path: str | os.PathLike[str],
    width: int | None = None,
    samples: int | None = None,
    progress: Progress | None = None,
) -> Inputs:
    """Read a batch of inputs.

    Arguments:
        path: lines ``sample neuron value`` counted from 1 (the challenge's images) or a Matrix
            Market matrix ``[samples, width]``, each plain or gzip; ``.npz`` as `scipy.sparse`
            writes it; ``.npy``; IDX images, which become rows of their raw 0 ... 255.
        width: neurons of the input; by default the file's, for text its largest neuron.
        samples: rows; by default the file's, for text its largest sample.
        progress: for text, called as ``progress(bytes read, bytes of the file)``.

    Returns:
        float32 ``[samples, width]``: a `scipy.sparse.csr_array` of text, Matrix Market and
        ``.npz``, a numpy array of ``.npy`` and IDX.

    Raises:
        FileError: the file is missing, damaged or of no such format.
        InputError: it does not have the width or the samples asked for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "images.tsv")
    ...     _ = path.write_text("1 2 1\\n3 1 0.5\\n")
    ...     load_inputs(path, width=3).toarray().tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    """
    path = Path(path)
    for name, size in (("width", width), ("samples", samples)):
        if size is not None and size < 0:
            raise InputError(f"{name} is {size}, wanted a size of at least 0")
    if path.is_dir():
        raise FileError(f"{path} is a folder, wanted a file of samples")
    with open_stream(path) as (stream, _):
        start = stream.read(16)
    if start.startswith(b"\x93NUMPY"):
        inputs: Inputs = _load_npy(path)
    elif start.startswith(b"PK\x03\x04"):
        inputs = _load_npz(path)
    elif start.startswith(b"\0\0"):
        images = load_images(path)
        inputs = images.reshape(len(images), -1).astype(np.float32)
    elif start.startswith(b"%%MatrixMarket"):
        entries = matrix_market.read_entries(read_chunks(path, progress), str(path), row_first=True)
        assert entries.shape is not None
        inputs = entries.matrix(*entries.shape)
    else:
        return _load_text(path, width, samples, progress)
    _check(inputs, path, width, samples)
    return inputs


def _load_text(
    path: Path, width: int | None, samples: int | None, progress: Progress | None
) -> Matrix:
    chunks = read_chunks(path, progress)
    first = next(chunks, b"")
    if not first and (width is None or samples is None):
        raise FileError(f"{path} is empty, wanted lines `sample neuron value`")
    has_value = len(first.split(b"\n", 1)[0].split()) != 2
    entries = parse_entries(
        chain([first], chunks),
        str(path),
        row_first=True,
        has_value=has_value,
        rows=samples or 0,
        columns=width or 0,
    )
    if samples is None:
        samples = entries.assumed_size(entries.largest_row, "samples")
    if width is None:
        width = entries.assumed_size(entries.largest_column, "width")
    return entries.matrix(samples, width)


def _load_npy(path: Path) -> NDArray[np.float32]:
    try:
        # Mapped first: a header that claims more than the file holds must not be allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise FileError(
                f"{path} holds {array.dtype} {array.shape}, wanted numbers [samples, width]"
            )
        with np.errstate(over="ignore"):
            return np.array(array, dtype=np.float32, order="C")
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise FileError(f"{path} is no whole .npy array: {error}") from error


def _load_npz(path: Path) -> Matrix:
    try:
        with path.open("rb") as file:
            loaded: Any = sp.load_npz(file)
        matrix = sp.csr_array(loaded)
        matrix.check_format(full_check=True)
        matrix.sum_duplicates()
        with np.errstate(over="ignore"):
            return matrix.astype(np.float32)
    except BadZipFile as error:
        raise FileError(f"{path} is cut short or damaged ({error}); copy it anew") from error
    except (ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError) as error:
        raise FileError(
            f"{path} holds no sparse matrix as scipy.sparse.save_npz writes it: {error}"
        ) from error


def _check(inputs: Any, path: Path, width: int | None, samples: int | None) -> None:
    values = inputs if isinstance(inputs, np.ndarray) else inputs.data
    if not np.isfinite(values).all():
        raise FileError(f"{path} holds a value that is not finite in float32")
    for axis, name, size in ((0, "samples", samples), (1, "width", width)):
        if size is not None and inputs.shape[axis] != size:
            raise InputError(f"{path} has {name} {inputs.shape[axis]}, wanted {size}")
