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
from espalier.nn.custom_ops import Gradients, NeedsInputGrad
from espalier.nn.zeroskip.bitmask import Mask, attached, sampled_density

Pair: TypeAlias = tuple[int, int]


class MaskedTensor:
    """A tensor in layout, with its mask: the one it came with, or one scanned when asked for.

    Attributes:
        threads: of the kernels that read it.
        known_mask: the mask, if there is one by now.
    """

    __slots__ = ("_op", "known_mask", "tensor", "threads")

    def __init__(self, op: LayerOp, tensor: Tensor, mask: Mask | None, threads: int) -> None:
        self.tensor = tensor
        self.known_mask = mask
        self.threads = threads
        self._op = op

    @property
    def rows(self) -> NDArray[np.float32]:
        """The tensor as an array ``[..., channels]`` over the same memory."""
        return self._op.rows(self.tensor)

    @property
    def mask(self) -> Mask:
        """Its non-zeros."""
        if self.known_mask is None:
            self.known_mask = Mask.of(self.rows, self.threads)
        return self.known_mask

    @property
    def density(self) -> float:
        """The share of its non-zeros; a sample's, as long as there is no mask."""
        return sampled_density(self.rows) if self.known_mask is None else self.known_mask.density


class LayerOp(ABC):
    """The three passes of a layer; x and dy are float32 on the CPU.

    What skips zeros takes its tensors in `layout`, and returns them so.
    """

    @property
    def options(self) -> dict[str, Pair]:
        """What the kernels must know beside the arrays."""
        return {}

    @abstractmethod
    def mask_of(self, x: Tensor) -> Mask | None:
        """The mask that is attached to an input, if it is one of rows in `layout`."""

    @abstractmethod
    def supports_shapes(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
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
    def dense_backward(
        self, dy: Tensor, x: Tensor, weight: Tensor, needs_input_grad: NeedsInputGrad
    ) -> Gradients:
        """The gradients by x, weight and bias that are needed, by PyTorch's operators."""

    @abstractmethod
    def backward_bias(self, dy: Tensor) -> Tensor:
        """The gradient by the bias."""

    def forward(self, x: MaskedTensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The output, without the work that zeros of x would cause."""
        y = zeroskip_forward(
            x.rows,
            self.rows(weight),
            None if bias is None else bias.detach().numpy(),
            mask=x.mask.bits,
            threads=x.threads,
            **self.options,
        )
        return self.tensor(y)

    def backward_input(
        self, variant: str, dy: MaskedTensor, x: MaskedTensor, weight: Tensor
    ) -> Tensor:
        """The gradient by x, without the zeros of dy (``"gradient"``), or where x is not 0 only."""
        dx = zeroskip_backward_input(
            dy.rows,
            self.rows(weight),
            (x.tensor.shape[-2], x.tensor.shape[-1]),
            mask=dy.mask.bits if variant == "gradient" else None,
            needed=x.mask.bits if variant == "needed" else None,
            threads=dy.threads,
            **self.options,
        )
        return self.tensor(dx)

    def backward_weight(
        self, variant: Any, dy: MaskedTensor, x: MaskedTensor, weight: Tensor
    ) -> Tensor:
        """The gradient by the weight, without the zeros of x (``"input"``) or ``"gradient"``."""
        dw = zeroskip_backward_weight(
            x.rows,
            dy.rows,
            (weight.shape[-2], weight.shape[-1]),
            mask=x.mask.bits if variant == "input" else None,
            dy_mask=dy.mask.bits if variant == "gradient" else None,
            skip=variant,
            threads=dy.threads,
            **self.options,
        )
        return self.tensor(dw)


@dataclass(frozen=True)
class Convolution(LayerOp):
    """A 2-d convolution without dilation and groups; tensors are ``[images, channels, h, w]``."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def options(self) -> dict[str, Pair]:
        return {"stride": self.stride, "padding": self.padding}

    def mask_of(self, x: Tensor) -> Mask | None:
        in_layout = x.is_contiguous(memory_format=torch.channels_last)
        return attached(x, x.shape[1]) if in_layout else None

    def supports_shapes(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
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

    def dense_backward(
        self, dy: Tensor, x: Tensor, weight: Tensor, needs_input_grad: NeedsInputGrad
    ) -> Gradients:
        window = self.stride, self.padding, (1, 1), False, (0, 0), 1
        result: Any = torch.ops.aten.convolution_backward(
            dy, x, weight, [weight.shape[0]], *window, needs_input_grad
        )
        return tuple(result)

    def backward_bias(self, dy: Tensor) -> Tensor:
        return dy.sum((0, 2, 3))


@dataclass(frozen=True)
class Linear(LayerOp):
    """A linear layer; tensors are ``[rows, features]``."""

    def mask_of(self, x: Tensor) -> Mask | None:
        return attached(x, x.shape[-1]) if x.is_contiguous() else None

    def supports_shapes(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
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

    def dense_backward(
        self, dy: Tensor, x: Tensor, weight: Tensor, needs_input_grad: NeedsInputGrad
    ) -> Gradients:
        by_x, by_weight, by_bias = needs_input_grad
        return (
            dy.mm(weight) if by_x else None,
            dy.t().mm(x) if by_weight else None,
            self.backward_bias(dy) if by_bias else None,
        )

    def backward_bias(self, dy: Tensor) -> Tensor:
        return dy.sum(0)
