"""The shape of a layer to measure, its three passes in training, and how each can skip zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FLOAT_BYTES = 4

Pass = Literal["FWD", "BWI", "BWW"]  # forward, backward by input, backward by weight
# Skipped are zeros of the input, zeros of the output's gradient, or candidates of the input's
# gradient that nobody needs because a ReLU made the input zero there.
Variant = Literal["input", "gradient", "needed"]

PASSES: tuple[Pass, ...] = ("FWD", "BWI", "BWW")
_VARIANTS: dict[Pass, tuple[Variant, ...]] = {
    "FWD": ("input",),
    "BWI": ("needed", "gradient"),
    "BWW": ("input", "gradient"),
}


@dataclass(frozen=True, slots=True)
class LayerShape:
    """A convolution of square images, or a linear layer.

    Arguments:
        in_channels: channels, or features, of the input.
        out_channels: the same of the output.
        side: height and width of the input.
        kernel: height and width of the kernel; None for a linear layer.
        stride: in both directions.

    Padding is half a kernel, as in every network here.

    >>> shape = LayerShape(64, 128, side=56, kernel=3, stride=2)
    >>> shape.label, shape.kind, shape.out_side, shape.multiply_adds
    ('3x3 64>128 @56 /2', '3x3', 28, 57802752)
    """

    in_channels: int
    out_channels: int
    side: int = 1
    kernel: int | None = None
    stride: int = 1

    @property
    def padding(self) -> int:
        """Zeros around the image."""
        return (self.kernel or 1) // 2

    @property
    def out_side(self) -> int:
        """Height and width of the output."""
        return (self.side + 2 * self.padding - (self.kernel or 1)) // self.stride + 1

    @property
    def kind(self) -> str:
        """What the figures are grouped by: ``3x3``, ``1x1``, ``linear`` ..."""
        return "linear" if self.kernel is None else f"{self.kernel}x{self.kernel}"

    @property
    def label(self) -> str:
        """What tables call it."""
        channels = f"{self.kind} {self.in_channels}>{self.out_channels}"
        if self.kernel is None:
            return channels
        return f"{channels} @{self.side}" + (f" /{self.stride}" if self.stride > 1 else "")

    @property
    def weights(self) -> int:
        """Entries of the weight."""
        return self.in_channels * self.out_channels * (self.kernel or 1) ** 2

    @property
    def multiply_adds(self) -> int:
        """Of one image and one pass, those with the padding included."""
        return self.weights * self.out_side**2

    def input_shape(self, images: int) -> tuple[int, ...]:
        """``[images, height, width, channels]``, or ``[rows, features]`` of a linear layer."""
        return self._activations(images, self.side, self.in_channels)

    def output_shape(self, images: int) -> tuple[int, ...]:
        """The same of the output."""
        return self._activations(images, self.out_side, self.out_channels)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``[filters, height, width, channels]``, or ``[outputs, inputs]``."""
        if self.kernel is None:
            return (self.out_channels, self.in_channels)
        return (self.out_channels, self.kernel, self.kernel, self.in_channels)

    def bytes_moved(self, images: int) -> int:
        """Bytes of both operands and the result of any pass, each met once."""
        candidates = self.side**2 * self.in_channels + self.out_side**2 * self.out_channels
        return FLOAT_BYTES * (images * candidates + self.weights)

    def _activations(self, images: int, side: int, channels: int) -> tuple[int, ...]:
        if self.kernel is None:
            return (images, channels)
        return (images, side, side, channels)


def variants(name: Pass, *, sparse_gradient: bool) -> tuple[Variant, ...]:
    """The ways to skip in a pass; those by gradient only where that has zeros.

    >>> variants("BWI", sparse_gradient=False), variants("BWW", sparse_gradient=True)
    (('needed',), ('input', 'gradient'))
    """
    return tuple(way for way in _VARIANTS[name] if sparse_gradient or way != "gradient")
