"""Tensors to measure with: dense ones, and the same with random zeros."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.sparsetrain.shapes import LayerShape, Variant

Array = NDArray[np.float32]


class Operands(NamedTuple):
    """What the three passes of a layer read.

    Arguments:
        x: the input, ``[images, height, width, channels]`` or ``[rows, features]``.
        weight: ``[filters, height, width, channels]`` or ``[outputs, inputs]``.
        dy: gradient of the output.
    """

    x: Array
    weight: Array
    dy: Array

    def with_zeros(self, fraction: float, variant: Variant, rng: np.random.Generator) -> Operands:
        """The same with so many random zeros where the variant looks for them."""
        if variant == "gradient":
            return self._replace(dy=_with_zeros(self.dy, fraction, rng))
        return self._replace(x=_with_zeros(self.x, fraction, rng))

    def zeros(self, variant: Variant) -> float:
        """The part that is zero where the variant looks."""
        return zeros_in(self.dy if variant == "gradient" else self.x)


def dense_operands(shape: LayerShape, images: int, rng: np.random.Generator) -> Operands:
    """Normal noise without zeros."""
    sizes = (shape.input_shape(images), shape.weight_shape, shape.output_shape(images))
    return Operands(*(rng.standard_normal(size, dtype=np.float32) for size in sizes))


def zeros_in(array: Array) -> float:
    """The part that is zero.

    >>> zeros_in(np.array([0, 1, 0, 2], np.float32))
    0.5
    """
    return 1.0 - int(np.count_nonzero(array)) / max(array.size, 1)


def _with_zeros(array: Array, fraction: float, rng: np.random.Generator) -> Array:
    return np.where(rng.random(array.shape, dtype=np.float32) < fraction, np.float32(0), array)
