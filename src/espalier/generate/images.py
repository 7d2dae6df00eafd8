"""The challenge's inputs: handwritten digits of any side, every pixel 0 or 1.

From the MNIST training images this makes the official sets pixel by pixel: 6,374,505 / 25,019,051
/ 98,858,913 / 392,191,985 set pixels for sides 32 / 64 / 128 / 256.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import FileError, InputError
from espalier.files import load_images
from espalier.generate.digits import varied_digits
from espalier.generate.fourier_resize import FourierResize
from espalier.generate.rng import checked_count, checked_seed
from espalier.progress import Progress

TRAINING_IMAGES = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
# Chunks of this many pixels keep the passes over them in cache.
CHUNK_PIXELS = 2**18


def challenge_images(
    neurons: int = 1024,
    count: int = 60000,
    *,
    source: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> sp.csr_array[np.float32, tuple[int, int]]:
    """Make 0/1 inputs the way the challenge made its own.

    All images of the source are interpolated together
    (see `espalier.generate.fourier_resize`), and the pixels brighter than half of the brightest
    one are set.

    Arguments:
        neurons: pixels of an image, the square of its side.
        count: number of images, the first ones of the source.
        source: folder with the MNIST training images (``train-images-idx3-ubyte``, also ``.gz``),
            which gives the official inputs. None: scikit-learn's bundled digits, varied at random.
        seed: chooses the variations of the bundled digits.
        progress: called with (done, total) as the work goes on.

    Returns:
        float32 CSR ``[count, neurons]`` of ones, pixels in the challenge's order: column by column.

    Raises:
        InputError: ``neurons`` is not a square, or the source has fewer images than ``count``.
        FileError: ``source`` holds no IDX images of 28 x 28 pixels.
        MissingExtraError: no source, and scikit-learn is not installed.

    >>> images = challenge_images(neurons=1024, count=50)
    >>> images.shape, images.dtype, 0.1 < images.nnz / (50 * 1024) < 0.2
    ((50, 1024), dtype('float32'), True)
    """
    count = checked_count("count", count)
    side = _checked_side(neurons)
    seed = checked_seed(seed)
    if source is None:
        grey = varied_digits(count, seed)
    else:
        grey = read_training_images(Path(source))
        if count > len(grey):
            raise InputError(f"count is {count}, but {source} holds only {len(grey)} images")
    resize = FourierResize(grey, side)
    tell = _PassesProgress(progress, count, len(grey) + count)
    brightest = max(squares.max() for squares in _chunks(resize, side, len(grey), tell))
    return _pixels_above(brightest / 4.0, resize, side, count, tell)


def read_training_images(folder: Path) -> NDArray[np.uint8]:
    """Read the MNIST training images of a folder, uint8 ``[images, 28, 28]``."""
    path = next((folder / name for name in TRAINING_IMAGES if (folder / name).is_file()), None)
    if path is None:
        raise FileError(f"{folder}: no {' or '.join(TRAINING_IMAGES)} in this folder")
    images = load_images(path)
    if images.shape[1:] != (28, 28) or len(images) == 0:
        count, height, width = images.shape
        raise FileError(f"{path}: {count} images of {height} x {width}, wanted some of 28 x 28")
    return images


def _checked_side(neurons: int) -> int:
    neurons = checked_count("neurons", neurons)
    side = math.isqrt(neurons)
    if side * side != neurons:
        raise InputError(
            f"neurons is {neurons}, wanted the square of a side, such as {side**2} or "
            f"{(side + 1) ** 2}"
        )
    return side


class _PassesProgress:
    """Counts images through both passes, as parts of the images that are wanted."""

    def __init__(self, progress: Progress | None, count: int, work: int) -> None:
        self._progress, self._done, self._count, self._work = progress, 0, count, work

    def advance(self, images: int) -> None:
        self._done += images
        if self._progress is not None:
            self._progress(self._done * self._count // self._work, self._count)


def _chunks(
    resize: FourierResize, side: int, count: int, tell: _PassesProgress
) -> Iterator[NDArray[np.float64]]:
    images = max(1, CHUNK_PIXELS // side**2)
    for start in range(0, count, images):
        stop = min(count, start + images)
        yield resize.squared_magnitudes(start, stop)
        tell.advance(stop - start)


def _pixels_above(
    threshold: float, resize: FourierResize, side: int, count: int, tell: _PassesProgress
) -> sp.csr_array[np.float32, tuple[int, int]]:
    """The 0/1 images as CSR; at its peak this holds little more than the result."""
    indices = np.empty(0, dtype=np.int32)
    offsets = np.zeros(count + 1, dtype=np.int64)
    nonzeros = 0
    image = 0
    for squares in _chunks(resize, side, count, tell):
        above = squares > threshold
        columns = np.flatnonzero(above) % (side * side)
        end = nonzeros + len(columns)
        if end > len(indices):
            # In steps of an eighth and in place: a list of chunks would double the memory.
            indices.resize(end + end // 8, refcheck=False)
        indices[nonzeros:end] = columns
        offsets[image + 1 : image + 1 + len(above)] = nonzeros + np.cumsum(above.sum(axis=1))
        nonzeros, image = end, image + len(above)
    indices.resize(nonzeros, refcheck=False)
    if nonzeros <= np.iinfo(np.int32).max:
        offsets = offsets.astype(np.int32)
    values = np.ones(nonzeros, dtype=np.float32)
    result = sp.csr_array((values, indices, offsets), shape=(count, side * side), copy=False)
    result.has_sorted_indices = True
    result.has_canonical_format = True
    return result
