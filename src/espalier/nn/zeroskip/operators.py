"""The zero-skip layers as operators of `torch.library`; a handle names the layer's tuner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.nn.custom_ops import Gradients, register, with_strides
from espalier.nn.torch_tools import is_supported
from espalier.nn.zeroskip.autotune import BACKWARD, INFERENCE, LayerTuner
from espalier.nn.zeroskip.dispatch import LayerDispatch
from espalier.nn.zeroskip.ops import Convolution, LayerOp, Linear


def convolution(
    op: Convolution, handle: int, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """A convolution with the tuner of this handle."""
    operator = torch.ops.espalier.convolution
    y: Tensor = operator(x, weight, bias, op.stride, op.padding, handle)
    return y


def linear(handle: int, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer with the tuner of this handle."""
    rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    y: Tensor = torch.ops.espalier.linear(rows, weight, bias, handle)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], y.shape[-1])


def _register(name: str, kind: type[Convolution] | type[Linear], options: str) -> None:
    """Define an operator; `options` are the fields of `kind`."""

    def op_of(fields: Any) -> LayerOp:
        return kind(*(tuple(field) for field in fields))

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        *fields, handle = rest
        op = op_of(fields)
        dispatch = _dispatch(handle, INFERENCE, op, x, weight, bias)
        if dispatch is None:
            y = op.dense_forward(x, weight, bias)
        else:
            y = dispatch.forward(dispatch.masked(x, None), weight, bias)
        return with_strides(y, _empty_like(y))

    def fake_forward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return _empty_like(op_of(rest[:-1]).dense_forward(x, weight, bias))

    def backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Gradients:
        *fields, handle, needed = rest
        dispatch = _dispatch(handle, BACKWARD, op_of(fields), x, weight, None, dy)
        if dispatch is None:
            return dense_backward(dy, x, weight, *fields, needed)
        return dispatch.backward(dy, dispatch.masked(x, None), weight, needed)

    def dense_backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Gradients:
        *fields, needed = rest
        return op_of(fields).dense_backward(dy, x, weight, needed)

    register(
        name,
        options,
        forward=forward,
        fake_forward=fake_forward,
        backward=backward,
        dense_backward=dense_backward,
        empty_like=_empty_like,
    )


def _dispatch(
    handle: int,
    kind: str,
    op: LayerOp,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dy: Tensor | None = None,
) -> LayerDispatch | None:
    """How the layer runs this call; None where PyTorch's operators do, also if it is gone."""
    tuner = LayerTuner.of(handle)
    if (
        tuner is None
        or not is_supported(x, weight, bias, dy)
        or not op.supports_shapes(x, weight, bias)
    ):
        return None
    threads = torch.get_num_threads()
    entry = tuner.entry(op, x.shape, weight.shape, threads)
    return LayerDispatch(op, entry, threads, entry.should_sample_density(kind))


def _empty_like(tensor: Tensor) -> Tensor:
    """An empty tensor with the strides that every result of an operator has."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


_register("convolution", Convolution, "int[2] stride, int[2] padding, ")
_register("linear", Linear, "")
