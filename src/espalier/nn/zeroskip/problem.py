"""The shapes at which latencies are measured: few stand for many."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from espalier.kernels import instruction_set
from espalier.nn.zeroskip.ops import Convolution, LayerOp, Pair

_MOST_MULTIPLY_ADDS = 5e8
# Of the input and of the output: measuring holds some copies of both.
_MOST_ELEMENTS = 4e6


@dataclass(frozen=True)
class ProblemShape:
    """The shape that is measured in place of a layer's own: near it, and not too large."""

    op: LayerOp
    images: int
    size: Pair
    channels: int
    filters: int
    kernel: Pair
    threads: int
    isa: str

    @classmethod
    def of(cls, op: LayerOp, x: torch.Size, weight: torch.Size, threads: int) -> ProblemShape:
        """The problem of a layer with such an input and weight.

        The number of images is rounded to a power of two, the image's sides to three significant
        bits, so that the last batch of an epoch or images of many sizes measure nothing anew.
        """
        filters, channels = weight[:2]
        images, isa = _round(x[0], bits=1), instruction_set()
        if not isinstance(op, Convolution):
            return cls(op, images, (1, 1), channels, filters, (1, 1), threads, isa)._shrunk()
        kernel = weight[2], weight[3]
        least = [k - 2 * p for k, p in zip(kernel, op.padding, strict=True)]
        height, width = (max(_round(x[2 + axis], bits=3), least[axis]) for axis in (0, 1))
        size = height, width
        return cls(op, images, size, channels, filters, kernel, threads, isa)._shrunk()

    def _shrunk(self) -> ProblemShape:
        """Fewer images, then fewer rows of an image, until a pass is neither long nor large."""
        problem = self
        while problem.images > 1 and problem._is_too_large:
            problem = replace(problem, images=problem.images // 2)
        least = max(8, 4 * self.kernel[0])
        while problem.size[0] >= 2 * least and problem._is_too_large:
            problem = replace(problem, size=(problem.size[0] // 2, problem.size[1]))
        return problem

    @property
    def _is_too_large(self) -> bool:
        # Few rows would make another problem of a product of matrices: those may take their time.
        is_long = isinstance(self.op, Convolution) and self.multiply_adds > _MOST_MULTIPLY_ADDS
        return is_long or self.elements > _MOST_ELEMENTS

    @property
    def elements(self) -> float:
        """Those of the input or of the output, up to the padding, whichever are more."""
        pixels = self.images * math.prod(self.size)
        return max(pixels * self.channels, pixels / math.prod(self._stride) * self.filters)

    @property
    def multiply_adds(self) -> float:
        """Those of one dense pass, up to the padding."""
        pixels = self.images * math.prod(self.size) / math.prod(self._stride)
        return pixels * math.prod(self.kernel) * self.channels * self.filters

    @property
    def _stride(self) -> Pair:
        return self.op.stride if isinstance(self.op, Convolution) else (1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the input, as PyTorch has it."""
        size = self.size if isinstance(self.op, Convolution) else ()
        return self.images, self.channels, *size

    def key(self, pass_name: str) -> str:
        """The name of a curve in the cache."""
        kind = type(self.op).__name__.lower()
        numbers = [self.images, *self.size, self.channels, self.filters, *self.kernel]
        options = [each for pair in self.op.options.values() for each in pair]
        return f"{kind} {pass_name} {numbers} {options} threads={self.threads} {self.isa}"


def _round(number: int, bits: int) -> int:
    """Down to so many significant bits."""
    drop = max(number.bit_length() - bits, 0)
    return number >> drop << drop
