"""Images to train on: scikit-learn's digits, or a folder of IDX files such as MNIST's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from espalier.errors import FileError, InputError, MissingExtraError
from espalier.files import load_images, load_labels
from espalier.nn.networks import image_side
from espalier.training.settings import Settings

DIGITS = "digits"
CLASSES = 10
TEST_PART = 0.2  # of the digits, which come without a test set
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
RawSplit = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Split:
    """Images with their classes.

    Attributes:
        images: float32 ``[images, 1, side, side]``, of unit standard deviation; blank stays 0,
            so that a pixel which is blank in every image feeds nothing and can be dropped.
        labels: int64 ``[images]``, 0 to 9.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, *, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch in an order that seed and epoch alone decide.

        The images that do not fill a last batch are left out; they differ from epoch to epoch.
        """
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(self)))
        for chosen in order[: len(self) // size * size].split(size):
            yield self.images.index_select(0, chosen), self.labels.index_select(0, chosen)


@dataclass(frozen=True)
class Data:
    """A training set and a test set.

    Attributes:
        std: of all pixels of the training set, on the scale of the files.
        fingerprint: SHA-256 of the images and labels as they were read and split.
    """

    train: Split
    test: Split
    std: float
    fingerprint: str
    classes: int = CLASSES

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return self.train.images.shape[-1]

    def resized(self, side: int) -> Data:
        """The same images with another side, interpolated linearly."""
        if side == self.side:
            return self
        return replace(self, train=_resized(self.train, side), test=_resized(self.test, side))


def load(source: str, *, seed: int = 0) -> Data:
    """Read a data set and check it: whole files, as many labels as images, ten classes.

    Arguments:
        source: ``"digits"`` for scikit-learn's 1,797 digits of 8 x 8 pixels, or a folder with the
            four files of MNIST (plain or gzip), also in torchvision's ``MNIST/raw`` below it.
        seed: decides which fifth of each class of the digits is the test set; IDX files have a
            test set of their own.

    Raises:
        FileError: a file is missing, damaged or does not fit the others.
        MissingExtraError: scikit-learn is wanted and not installed.

    >>> data = load("digits")
    >>> tuple(data.train.images.shape), len(data.test)
    ((1442, 1, 8, 8), 355)
    """
    splits = _load_digits(seed) if source == DIGITS else _load_folder(Path(source))
    pixels = splits["train"][0]
    # In float64: sums of many float32 pixels would depend on their order.
    std = float(pixels.std(dtype=np.float64))
    if std == 0.0:
        raise FileError(
            f"{source}: all pixels of the training images are {pixels.flat[0]}: nothing to see"
        )
    train, test = (_scaled(splits[name], std) for name in FILES)
    return Data(train, test, std, _fingerprint(splits))


def _load_digits(seed: int) -> dict[str, RawSplit]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingExtraError("scikit-learn", "train", "training on digits") from None
    except ImportError as error:
        raise InputError(
            f"scikit-learn, which has the digits, cannot be loaded: {error}"
        ) from error
    bundled = load_digits()
    images, labels = bundled.images.astype(np.uint8), bundled.target.astype(np.int64)
    chosen = _fifth_of_each_class(labels, seed)
    return {
        "train": (images[~chosen], labels[~chosen]),
        "test": (images[chosen], labels[chosen]),
    }


def _fifth_of_each_class(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    for label in range(CLASSES):
        members = order[labels[order] == label]
        chosen[members[: int(TEST_PART * len(members))]] = True
    return chosen


def _load_folder(folder: Path) -> dict[str, RawSplit]:
    if not folder.is_dir():
        raise FileError(f"data is {str(folder)!r}, wanted digits or a folder of IDX files")
    splits = {name: _load_split(folder, *files) for name, files in FILES.items()}
    sides = {name: images.shape[1:] for name, (images, _) in splits.items()}
    if sides["train"] != sides["test"]:
        raise FileError(
            f"{folder}: training images are {_by(sides['train'])} pixels, test images "
            f"{_by(sides['test'])}: they are of two data sets"
        )
    return splits


def _load_split(folder: Path, images_name: str, labels_name: str) -> RawSplit:
    images_path, labels_path = _find(folder, images_name), _find(folder, labels_name)
    images, labels = load_images(images_path), load_labels(labels_path)
    if len(images) != len(labels):
        raise FileError(
            f"{images_path} holds {len(images):,} images, but {labels_path} {len(labels):,} "
            "labels: they are of two data sets"
        )
    if images.size == 0 or images.shape[1] != images.shape[2]:
        raise FileError(
            f"{images_path} holds {len(images):,} images of {_by(images.shape[1:])} pixels, wanted "
            "square ones, at least one"
        )
    if labels.max() >= CLASSES:
        first = int(np.argmax(labels >= CLASSES))
        raise FileError(
            f"{labels_path}: label {labels[first]} of image {first:,} (counted from 0) is out of "
            f"range, wanted 0 to {CLASSES - 1}; is the file of another data set, or damaged?"
        )
    return images, labels


def _find(folder: Path, name: str) -> Path:
    for place in (folder, folder / "MNIST" / "raw"):
        for path in (place / name, place / f"{name}.gz"):
            if path.exists():
                return path
    raise FileError(
        f"{folder} lacks {name} (or {name}.gz); training wants MNIST's four files there, or in "
        "MNIST/raw below it"
    )


def _scaled(split: RawSplit, std: float) -> Split:
    images, labels = split
    pixels = (images.astype(np.float32) / np.float32(std))[:, None]
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels))


def _resized(split: Split, side: int) -> Split:
    images = interpolate(split.images, size=(side, side), mode="bilinear", align_corners=False)
    return replace(split, images=images)


def _fingerprint(splits: dict[str, RawSplit]) -> str:
    digest = hashlib.sha256()
    for split in splits.values():
        for array in split:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def load_for(settings: Settings) -> Data:
    """The data of a training, as large as its model wants it.

    Raises:
        FileError: see `load`.
        InputError: a batch or a shift that does not fit the images.
    """
    data = load(settings.data, seed=settings.seed)
    check_batch(data, settings.batch)
    data = data.resized(image_side(settings.model, data.side))
    if settings.shift >= data.side:
        raise InputError(
            f"shift is {settings.shift}, which moves images of {data.side} pixels a side out of "
            f"sight; wanted 0 to {data.side - 1}"
        )
    return data


def check_batch(data: Data, batch: int) -> None:
    """Refuse a batch larger than the training set.

    Raises:
        InputError: it is.
    """
    if batch > len(data.train):
        raise InputError(
            f"batch is {batch:,}, but the training set has {len(data.train):,} images; give a "
            "smaller batch"
        )
