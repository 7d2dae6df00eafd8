"""Handwritten digits without a download: scikit-learn's 8 x 8 set, enlarged and varied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.errors import MissingExtraError
from espalier.generate.rng import Rng

SIZE = 28
# At this size 3 % of the digits survive the challenge network of 1,024 neurons, as in MNIST.
BOX = 20.6
SOURCE_SIDE = 8
SOURCE_WHITE = 16.0
MARGIN = 2
CHUNK = 4096


def varied_digits(count: int, seed: int) -> NDArray[np.uint8]:
    """Grey digits in the manner of MNIST, each shifted, rotated and scaled at random.

    Arguments:
        count: number of images; the bundled 1,797 digits are used over and over.
        seed: chooses the variations; a longer set begins with the shorter one.

    Returns:
        uint8 ``[count, 28, 28]``, 0 black.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    padded = np.pad(_bundled_digits(), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    variations = Rng(seed).uniform(-1.0, 1.0, count, 4)
    result = np.empty((count, SIZE, SIZE), dtype=np.uint8)
    for start in range(0, count, CHUNK):
        chosen = np.arange(start, min(count, start + CHUNK))
        rows, columns = _source_positions(variations[chosen])
        grey = _cubic_samples(padded, chosen % len(padded), rows + MARGIN, columns + MARGIN)
        result[chosen] = np.rint(np.clip(grey, 0.0, 1.0) * 255.0)
    return result


def _bundled_digits() -> NDArray[np.float64]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("scikit-learn", "images", "making images from digits") from None
    return np.asarray(load_digits().images, dtype=np.float64) / SOURCE_WHITE


def _source_positions(
    variations: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each of the 28 x 28 pixels lies in the 8 x 8 original, ``[images, 28, 28]`` each."""
    rotation, scale, down, right = variations.T[:, :, None, None]
    angle = 0.2 * rotation
    step = SOURCE_SIDE / BOX * (1.0 + 0.1 * scale)
    offsets = np.arange(SIZE) - (SIZE - 1) / 2
    y = offsets[:, None] - 1.5 * down
    x = offsets[None, :] - 1.5 * right
    centre = (SOURCE_SIDE - 1) / 2
    rows = centre + step * (np.cos(angle) * y - np.sin(angle) * x)
    columns = centre + step * (np.sin(angle) * y + np.cos(angle) * x)
    return rows, columns


def _cubic_samples(
    images: NDArray[np.float64],
    chosen: NDArray[np.int_],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Catmull-Rom interpolation of the chosen images at real positions; black outside."""
    side = images.shape[1]
    first_row, row_weights = _cubic_weights(rows)
    first_column, column_weights = _cubic_weights(columns)
    image = chosen[:, None, None]
    grey = np.zeros(rows.shape)
    for i, row_weight in enumerate(row_weights):
        row = np.clip(first_row + i, 0, side - 1)
        for j, column_weight in enumerate(column_weights):
            column = np.clip(first_column + j, 0, side - 1)
            grey += row_weight * column_weight * images[image, row, column]
    return grey


def _cubic_weights(
    positions: NDArray[np.float64],
) -> tuple[NDArray[np.int_], list[NDArray[np.float64]]]:
    """The first of four neighbouring pixels and the weights of the four."""
    whole = np.floor(positions)
    t = positions - whole
    weights = [
        0.5 * t * (t * (2.0 - t) - 1.0),
        0.5 * (t * t * (3.0 * t - 5.0) + 2.0),
        0.5 * t * (t * (4.0 - 3.0 * t) + 1.0),
        0.5 * t * t * (t - 1.0),
    ]
    return whole.astype(np.int_) - 1, weights
