"""What a layer computes over tensors: dense by PyTorch, or zero-skipping by our kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from espalier.kernels import (
    zeroskip_backward_input,
    zeroskip_backward_weight,
    zeroskip_forward,
)
from espalier.nn.zeroskip.bitmask import Mask, find

Pair: TypeAlias = tuple[int, int]
Wanted: TypeAlias = tuple[bool, bool, bool]
Gradients: TypeAlias = tuple[Tensor | None, Tensor | None, Tensor | None]


class Product(ABC):
    """The three passes of a layer; x and dy are float32 on the CPU.

    What skips zeros takes its tensors in `layout`, and returns them so.
    """

    @property
    def options(self) -> dict[str, Pair]:
        """What the kernels must know beside the arrays."""
        return {}

    @abstractmethod
    def mask_of(self, x: Tensor) -> Mask | None:
        """The mask that was left on an input, if it is one of rows in `layout`."""

    @abstractmethod
    def fits(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether the kernels take these shapes; PyTorch itself answers for all others."""

    @abstractmethod
    def layout(self, tensor: Tensor) -> Tensor:
        """The tensor with its channels innermost in memory, copied only if need be."""

    @abstractmethod
    def rows(self, tensor: Tensor) -> NDArray[np.float32]:
        """A tensor as an array ``[..., channels]`` over the same memory."""

    @abstractmethod
    def tensor(self, rows: NDArray[np.float32]) -> Tensor:
        """The way back from `rows`."""

    @abstractmethod
    def dense_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output, by PyTorch's operator."""

    @abstractmethod
    def dense_backward(self, dy: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        """The wanted gradients by x, weight and bias, by PyTorch's operators."""

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask, threads: int
    ) -> Tensor:
        """The output, without the work that zeros of x would cause."""
        y = zeroskip_forward(
            self.rows(x),
            self.rows(weight),
            None if bias is None else bias.detach().numpy(),
            mask=mask.bits,
            threads=threads,
            **self.options,
        )
        return self.tensor(y)

    def backward_input(
        self,
        dy: Tensor,
        weight: Tensor,
        like: Tensor,
        *,
        mask: Mask | None = None,
        needed: Mask | None = None,
        threads: int,
    ) -> Tensor:
        """The gradient by x, without the zeros of dy, or only where it is needed.

        Arguments:
            like: has the shape of x.
        """
        dx = zeroskip_backward_input(
            self.rows(dy),
            self.rows(weight),
            (like.shape[-2], like.shape[-1]),
            mask=None if mask is None else mask.bits,
            needed=None if needed is None else needed.bits,
            threads=threads,
            **self.options,
        )
        return self.tensor(dx)

    def backward_weight(
        self,
        x: Tensor,
        dy: Tensor,
        like: Tensor,
        *,
        mask: Mask | None = None,
        dy_mask: Mask | None = None,
        skip: Any,
        threads: int,
    ) -> Tensor:
        """The gradient by the weight, without the zeros of x (``"input"``) or dy.

        Arguments:
            like: has the shape of the weight.
        """
        dw = zeroskip_backward_weight(
            self.rows(x),
            self.rows(dy),
            (like.shape[-2], like.shape[-1]),
            mask=None if mask is None else mask.bits,
            dy_mask=None if dy_mask is None else dy_mask.bits,
            skip=skip,
            threads=threads,
            **self.options,
        )
        return self.tensor(dw)

    @abstractmethod
    def backward_bias(self, dy: Tensor) -> Tensor:
        """The gradient by the bias."""


@dataclass(frozen=True)
class Convolution(Product):
    """A 2-d convolution without dilation and groups; tensors are ``[images, channels, h, w]``."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def options(self) -> dict[str, Pair]:
        return {"stride": self.stride, "padding": self.padding}

    def mask_of(self, x: Tensor) -> Mask | None:
        in_layout = x.is_contiguous(memory_format=torch.channels_last)
        return find(x, x.shape[1]) if in_layout else None

    def fits(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
        shape, kernel = x.shape, weight.shape
        return (
            len(shape) == len(kernel) == 4
            and (bias is None or bias.shape == kernel[:1])
            and shape[1] == kernel[1]
            and shape[2] + 2 * self.padding[0] >= kernel[2]
            and shape[3] + 2 * self.padding[1] >= kernel[3]
            and 0 not in shape
        )

    def layout(self, tensor: Tensor) -> Tensor:
        if tensor.shape[1] == 1 and tensor.stride(1) != 1:
            # One channel is in both layouts; PyTorch reads from the strides which one is meant.
            images, _, height, width = tensor.shape
            return tensor.contiguous().view(images, height, width, 1).permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=torch.channels_last)

    def rows(self, tensor: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = tensor.detach().numpy()
        return array.transpose(0, 2, 3, 1)

    def tensor(self, rows: NDArray[np.float32]) -> Tensor:
        # A tensor that torch permuted is a view, which nn.ReLU(inplace=True) could not overwrite.
        return torch.from_numpy(rows.transpose(0, 3, 1, 2))

    def dense_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding)

    def dense_backward(self, dy: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        window = self.stride, self.padding, (1, 1), False, (0, 0), 1
        sizes = [weight.shape[0]]
        result: Any = torch.ops.aten.convolution_backward(dy, x, weight, sizes, *window, wanted)
        return tuple(result)

    def backward_bias(self, dy: Tensor) -> Tensor:
        return dy.sum((0, 2, 3))


@dataclass(frozen=True)
class Linear(Product):
    """A linear layer; tensors are ``[rows, features]``."""

    def mask_of(self, x: Tensor) -> Mask | None:
        return find(x, x.shape[-1]) if x.is_contiguous() else None

    def fits(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
        shape, outputs = x.shape, weight.shape
        return (
            len(shape) == len(outputs) == 2
            and (bias is None or bias.shape == outputs[:1])
            and shape[1] == outputs[1]
            and 0 not in shape
        )

    def layout(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous()

    def rows(self, tensor: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = tensor.detach().numpy()
        return array

    def tensor(self, rows: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(rows)

    def dense_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    def dense_backward(self, dy: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        return (
            dy.mm(weight) if wanted[0] else None,
            dy.t().mm(x) if wanted[1] else None,
            self.backward_bias(dy) if wanted[2] else None,
        )

    def backward_bias(self, dy: Tensor) -> Tensor:
        return dy.sum(0)
