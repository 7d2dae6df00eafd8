"""Batches written for other programs: `.npy` dense, `.npz` as scipy keeps CSR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import FileError
from espalier.files.atomic import replacing_file

ENDINGS = (".npy", ".npz")


def check_target(path: Path, endings: tuple[str, ...] = ()) -> None:
    """Refuse, before any work is done, a file that could not be written after it.

    Raises:
        FileError: its folder is missing, it is a folder itself, or its ending is none of
            `endings`.
    """
    if endings and path.suffix not in endings:
        raise FileError(f"{path}: the name must end in {' or '.join(endings)}")
    if path.is_dir():
        raise FileError(f"{path} is a folder, wanted the name of a file")
    if not path.parent.is_dir():
        raise FileError(f"{path}: the folder {path.parent} is missing; make it first")


def save_batch(path: Path, batch: Any) -> None:
    """Write ``[samples, neurons]`` beside its place, then move it there in one step.

    Arguments:
        path: ends in ``.npy`` (dense) or ``.npz`` (scipy CSR).
        batch: numpy or scipy sparse.

    Raises:
        FileError: the file cannot be written; what was there before stays.
    """
    check_target(path, ENDINGS)
    with replacing_file(path) as file:
        if path.suffix == ".npy":
            np.save(file, dense(batch))
        else:
            sp.save_npz(file, sp.csr_array(batch))


def dense(batch: Any) -> NDArray[np.float32]:
    """A numpy or scipy sparse batch as float32 ``[samples, neurons]``."""
    return np.asarray(batch.toarray() if hasattr(batch, "toarray") else batch, dtype=np.float32)
