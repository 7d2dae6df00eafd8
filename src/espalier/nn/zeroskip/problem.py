"""The shapes at which costs are measured: few stand for many."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from espalier.kernels import instruction_set
from espalier.nn.zeroskip.ops import Convolution, Pair, Product

_MOST_MULTIPLY_ADDS = 5e8
# Of the input and of the output: measuring holds some copies of both.
_MOST_ELEMENTS = 4e6


@dataclass(frozen=True)
class Case:
    """The shape that is measured in place of a layer's own: near it, and not too large."""

    product: Product
    images: int
    size: Pair
    channels: int
    filters: int
    kernel: Pair
    threads: int
    isa: str

    @classmethod
    def of(cls, product: Product, x: torch.Size, weight: torch.Size, threads: int) -> Case:
        """The case of a layer with such an input and weight.

        The number of images is rounded to a power of two, the image's sides to three significant
        bits, so that the last batch of an epoch or images of many sizes measure nothing anew.
        """
        filters, channels = weight[:2]
        images, isa = _round(x[0], bits=1), instruction_set()
        if not isinstance(product, Convolution):
            return cls(product, images, (1, 1), channels, filters, (1, 1), threads, isa)._shrunk()
        kernel = weight[2], weight[3]
        least = [k - 2 * p for k, p in zip(kernel, product.padding, strict=True)]
        height, width = (max(_round(x[2 + axis], bits=3), least[axis]) for axis in (0, 1))
        size = height, width
        return cls(product, images, size, channels, filters, kernel, threads, isa)._shrunk()

    def _shrunk(self) -> Case:
        """Fewer images, then fewer rows of an image, until a pass is neither long nor large."""
        case = self
        while case.images > 1 and case._is_too_large:
            case = replace(case, images=case.images // 2)
        least = max(8, 4 * self.kernel[0])
        while case.size[0] >= 2 * least and case._is_too_large:
            case = replace(case, size=(case.size[0] // 2, case.size[1]))
        return case

    @property
    def _is_too_large(self) -> bool:
        # Few rows would make another problem of a product of matrices: those may take their time.
        is_long = isinstance(self.product, Convolution) and self.multiply_adds > _MOST_MULTIPLY_ADDS
        return is_long or self.elements > _MOST_ELEMENTS

    @property
    def elements(self) -> float:
        """Those of the input or of the output, up to the padding, whichever are more."""
        pixels = self.images * math.prod(self.size)
        return max(pixels * self.channels, pixels / math.prod(self._stride) * self.filters)

    @property
    def multiply_adds(self) -> float:
        """Those of one dense pass, up to the padding."""
        places = self.images * math.prod(self.size) / math.prod(self._stride)
        return places * math.prod(self.kernel) * self.channels * self.filters

    @property
    def _stride(self) -> Pair:
        return self.product.stride if isinstance(self.product, Convolution) else (1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the input, as PyTorch has it."""
        size = self.size if isinstance(self.product, Convolution) else ()
        return self.images, self.channels, *size

    def key(self, pass_name: str) -> str:
        """The name of a curve in the cache."""
        product = type(self.product).__name__.lower()
        numbers = [self.images, *self.size, self.channels, self.filters, *self.kernel]
        options = [each for pair in self.product.options.values() for each in pair]
        return f"{product} {pass_name} {numbers} {options} threads={self.threads} {self.isa}"


def _round(number: int, bits: int) -> int:
    """Down to so many significant bits."""
    drop = max(number.bit_length() - bits, 0)
    return number >> drop << drop
