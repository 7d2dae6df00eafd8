"""The shape of a layer to measure: a square convolution or a linear layer."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT_BYTES = 4


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
