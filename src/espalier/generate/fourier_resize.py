"""Images side by side, resized together by Fourier interpolation.

The official challenge images are the magnitudes of a two-dimensional, zero-padded Fourier
interpolation of *all* MNIST training images side by side, 28 x (28 * 60000) pixels. So an image's
rows wrap around on themselves, while its columns run on into the next image. The bin of the
highest frequency is not split between its two signs, which leaves an imaginary part.

Along an axis of even length M such an interpolation is ``y(t) = sum_m x[m] D(t - m)`` with

    D(u) = sin(pi u) / (M tan(pi u / M)) + 1j sin(pi u) / M .

The row of images is too long to sum over, and transforming it would need one transform of 15
million points for each of 256 rows. But far from its pixel m, D is smooth apart from the factor
``sin(pi (t - m)) = (-1)^m sin(pi t)``: what all images beyond the next neighbours add inside one
image is a polynomial in t to double precision, known from its values at a few Chebyshev nodes.
Those come from circular convolutions over the images; everything else is a matrix product.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

NEIGHBOURS = (-1, 0, 1)  # images back along the row
# Poles of the far field lie 3 half-widths from an image's middle, so each node gains a factor of
# 3 + sqrt(8): 16 nodes reach 6e-13 of the far field, which is the rounding error of float64.
NODES = 16


class FourierResize:
    """Images side by side, ready to be interpolated to a new side.

    Arguments:
        images: ``[count, size, size]`` integers, ``size`` even.
        side: pixels per side after interpolation.
    """

    def __init__(self, images: NDArray[np.uint8], side: int) -> None:
        count, size, _ = images.shape
        self._images, self._side = images, side
        self._near = sorted({back % count for back in NEIGHBOURS})
        length = size * count
        positions = np.arange(side) * (size / side)
        pixels = np.arange(size)
        sine = np.sin(np.pi * positions)
        signs = np.where(pixels % 2, -1.0, 1.0)

        near = [_kernel(positions, pixels - size * back, length) for back in self._near]
        nodes = chebyshev.chebpts1(NODES)
        far = sine[:, None] * _interpolation_matrix(2.0 * positions / size - 1.0, nodes)
        self._columns = np.concatenate([*near, far.T]).T.copy()
        self._far = _far_field(images, 0.5 * size * (nodes + 1.0), self._near)

        # Of the imaginary parts only these survive: one number per row of pixels, and one per
        # column of an image; they meet again in the real part as the product of the two.
        rows = _kernel(positions, pixels, size)
        row_imaginary = np.einsum("iyx,x->y", images, signs.astype(np.int64)) / length
        self._sine, self._alternating = sine, signs / size
        self._real = np.vstack([rows, -(self._alternating @ row_imaginary) * sine])
        self._imaginary = np.outer(sine, row_imaginary @ rows)

    def squared_magnitudes(self, start: int, stop: int) -> Matrix:
        """Interpolated images ``start ... stop - 1``, squared, float64 ``[images, side * side]``.

        Pixels are in the challenge's order, down the first column of the image, then the second.
        """
        chosen = np.arange(start, stop)
        count, size, _ = self._images.shape
        near = [self._images[(chosen - back) % count].transpose(0, 2, 1) for back in self._near]
        sources = np.concatenate([*near, self._far[start:stop]], axis=1)
        columns = np.empty((len(chosen), self._side, size + 1))
        columns[:, :, :size] = self._columns @ sources
        columns[:, :, size] = self._sine
        real: Matrix = (columns.reshape(-1, size + 1) @ self._real).reshape(len(chosen), -1)
        imaginary = (columns[:, :, :size] @ self._alternating)[:, :, None] * self._sine
        imaginary += self._imaginary
        np.square(real, out=real)
        np.square(imaginary, out=imaginary)
        real += imaginary.reshape(real.shape)
        return real


def _kernel(positions: Matrix, pixels: NDArray[np.int_], length: int) -> Matrix:
    """Real part of D: the share of each pixel in each position, ``[pixels, positions]``."""
    distance = (positions - pixels[:, None] + length / 2) % length - length / 2
    hit = np.abs(distance) < 1e-9
    apart = np.where(hit, 0.5, distance)
    return np.where(hit, 1.0, np.sin(np.pi * apart) / (length * np.tan(np.pi * apart / length)))


def _interpolation_matrix(points: Matrix, nodes: Matrix) -> Matrix:
    """Values at ``points`` of the polynomial through values at ``nodes``, ``[points, nodes]``."""
    degree = len(nodes) - 1
    through_nodes = np.linalg.inv(chebyshev.chebvander(nodes, degree))
    return np.asarray(chebyshev.chebvander(points, degree) @ through_nodes, dtype=np.float64)


def _far_field(images: NDArray[np.uint8], nodes: Matrix, near: list[int]) -> Matrix:
    """What the images outside ``near`` add at the nodes, without its factor ``sin(pi t)``.

    Float64 ``[count, nodes, size]``, the last axis running over the rows of an image.
    """
    count, size, _ = images.shape
    length = size * count
    pixels = np.arange(size)
    signs = np.where(pixels % 2, -1.0, 1.0)[:, None]
    image_distance = size * np.arange(count)
    spectra = np.empty((len(nodes), size, count // 2 + 1), dtype=np.complex128)
    for spectrum, node in zip(spectra, nodes, strict=True):
        kernel = signs / length / np.tan(np.pi / length * (image_distance + node - pixels[:, None]))
        kernel[:, near] = 0.0
        spectrum[:] = scipy.fft.rfft(kernel)
    far = np.empty((count, len(nodes), size))
    for row in range(size):
        pixel_spectra = scipy.fft.rfft(images[:, row, :].T.astype(np.float64))
        sums = np.einsum("xf,pxf->pf", pixel_spectra, spectra)
        far[:, :, row] = scipy.fft.irfft(sums, count).T
    return far
