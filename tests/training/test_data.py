"""Whole data is loaded as it stands; anything else is refused by name."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.errors import FileError, InputError
from espalier.training.data import check_batch, load
from tests.training.conftest import idx

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte",
)


def test_digits_are_standardised_and_split_by_class() -> None:
    data = load("digits", seed=3)
    assert data.train.images.shape == (1442, 1, 8, 8) and len(data.test) == 355
    assert data.train.images.min() == 0 and abs(data.train.images.std() - 1) < 1e-3
    counts = torch.bincount(data.test.labels) / torch.bincount(data.train.labels)
    assert torch.allclose(counts, torch.tensor(0.25), atol=0.01)


def test_the_seed_decides_the_split() -> None:
    prints = [load("digits", seed=seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("place", [".", "MNIST/raw"])
def test_a_folder_flat_or_as_torchvision_keeps_it(idx_folder: Path, place: str) -> None:
    folder = idx_folder.parent / "other"
    shutil.copytree(idx_folder, folder / place)
    data = load(str(folder))
    assert data.train.images.shape == (40, 1, 6, 6) and len(data.test) == 20
    assert data.fingerprint == load(str(idx_folder)).fingerprint


def test_mnist(mnist_data: Path) -> None:
    data = load(str(mnist_data))
    assert data.train.images.shape == (60_000, 1, 28, 28) and len(data.test) == 10_000
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.std / 255 == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(idx_folder: Path, name: str) -> None:
    (idx_folder / name).unlink()
    with pytest.raises(FileError, match=f"lacks {name.removesuffix('.gz')}"):
        load(str(idx_folder))


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_named(idx_folder: Path, name: str) -> None:
    path = idx_folder / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileError, match=name):
        load(str(idx_folder))


def test_images_and_labels_of_two_sets(idx_folder: Path) -> None:
    (idx_folder / FILES[1]).write_bytes(idx(np.zeros(39)))
    with pytest.raises(FileError, match=r"40 images, but .*train-labels-idx1-ubyte 39 labels"):
        load(str(idx_folder))


def test_a_label_out_of_range(idx_folder: Path) -> None:
    labels = np.zeros(20)
    labels[4] = 11
    (idx_folder / FILES[3]).write_bytes(idx(labels))
    with pytest.raises(FileError, match="t10k-labels-idx1-ubyte: label 11 of image 4"):
        load(str(idx_folder))


@pytest.mark.parametrize(
    ("shape", "message"), [((20, 7, 7), "6 x 6 pixels, test images 7 x 7"), ((20, 6, 5), "square")]
)
def test_images_of_another_size(idx_folder: Path, shape: tuple[int, ...], message: str) -> None:
    (idx_folder / FILES[2]).write_bytes(gzip.compress(idx(np.ones(shape))))
    with pytest.raises(FileError, match=message):
        load(str(idx_folder))


def test_images_of_one_grey(idx_folder: Path) -> None:
    (idx_folder / FILES[0]).write_bytes(gzip.compress(idx(np.full((40, 6, 6), 7))))
    with pytest.raises(FileError, match="all pixels of the training images are 7"):
        load(str(idx_folder))


def test_no_folder_at_all() -> None:
    with pytest.raises(FileError, match="data is 'mnits', wanted digits or a folder"):
        load("mnits")


def test_batches_hang_on_seed_and_epoch_alone() -> None:
    split = load("digits").train

    def labels(seed: int, epoch: int) -> torch.Tensor:
        return torch.cat([labels for _, labels in split.batches(100, seed=seed, epoch=epoch)])

    assert torch.equal(labels(0, 1), labels(0, 1))
    assert not torch.equal(labels(0, 1), labels(0, 2))
    assert not torch.equal(labels(0, 1), labels(1, 1))
    assert len(labels(0, 0)) == 1400


def test_resizing_keeps_the_pixels_it_has() -> None:
    data = load("digits")
    assert data.resized(8) is data
    assert data.resized(28).test.images.shape == (355, 1, 28, 28)


def test_a_batch_larger_than_the_set() -> None:
    with pytest.raises(InputError, match="batch is 2,000, but the training set has 1,442"):
        check_batch(load("digits"), 2000)
