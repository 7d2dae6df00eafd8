"""Small data on disk, and settings that train in a moment."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.training import Settings


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in IDX form."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Four IDX files of 40 and 20 images of 6 x 6 pixels, plain and gzip."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for half, count in (("train", 40), ("t10k", 20)):
        images = idx(rng.integers(0, 256, (count, 6, 6)))
        (folder / f"{half}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = idx(rng.integers(0, 10, count))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(labels)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; one is also kind to the other test processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick() -> Callable[..., Settings]:
    """Settings of a small training; times are multiply-adds, so that nothing is measured."""

    def make(**changes: object) -> Settings:
        usual = {"model": "mlp:16-12", "epochs": 3, "batch": 64, "time": "macs", "threads": 1}
        return Settings(**{**usual, **changes})

    return make
