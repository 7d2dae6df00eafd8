"""The layers as operators of `torch.library`, which a compiled program calls as they are.

In eager mode a layer calls its kernels directly: a dispatched operator costs some microseconds
more, and has nowhere to leave a mask. In a compiled program the operator finds the layer's choices
by their handle, and scans for zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.nn.torch_tools import is_supported
from espalier.nn.zeroskip.autotune import BACKWARD, INFERENCE, LayerChoices
from espalier.nn.zeroskip.dispatch import Call
from espalier.nn.zeroskip.ops import Convolution, Linear, Product

_library = torch.library.Library("espalier", "DEF")


def takes(product: Product, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a program being compiled may call the operator for these tensors."""
    tensors = (x, weight) if bias is None else (x, weight, bias)
    return (
        all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
        and (x.dim() == 4 if isinstance(product, Convolution) else x.dim() > 1)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_exporting()
    )


def convolution(
    product: Convolution, handle: int, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """A convolution with the choices of this handle."""
    operator = torch.ops.espalier.convolution
    y: Tensor = operator(x, weight, bias, product.stride, product.padding, handle)
    return y


def linear(handle: int, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer with the choices of this handle."""
    rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    y: Tensor = torch.ops.espalier.linear(rows, weight, bias, handle)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], y.shape[-1])


def _register(name: str, kind: type[Convolution] | type[Linear], options: str) -> None:
    """Define an operator and its backward; `options` are the fields of `kind`."""
    _library.define(f"{name}(Tensor x, Tensor weight, Tensor? bias, {options}int handle) -> Tensor")
    _library.define(
        f"{name}_backward(Tensor dy, Tensor x, Tensor weight, {options}int handle, bool[3] wanted)"
        " -> (Tensor, Tensor, Tensor)"
    )

    def product_of(fields: Any) -> Product:
        return kind(*(tuple(field) for field in fields))

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        *fields, handle = rest
        product = product_of(fields)
        call = _call_of(handle, INFERENCE, product, x, weight, bias)
        if call is None:
            return _settled(product.dense_forward(x, weight, bias))
        return _settled(call.forward(call.operand(x, None), weight, bias))

    def backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        *fields, handle, wanted = rest
        product = product_of(fields)
        call = _call_of(handle, BACKWARD, product, x, weight, None, dy)
        if call is None:
            gradients = product.dense_backward(dy, x, weight, wanted)
        else:
            gradients = call.backward(dy, call.operand(x, None), weight, tuple(wanted))
        return tuple(dy.new_empty(0) if each is None else _settled(each) for each in gradients)

    def fake_forward(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return _new(product_of(rest[:-1]).dense_forward(x, weight, bias))

    def fake_backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        bias = weight.new_empty(weight.shape[0])
        return tuple(
            _new(like) if asked else dy.new_empty(0)
            for like, asked in zip((x, weight, bias), rest[-1], strict=True)
        )

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *ctx.rest = inputs
        ctx.save_for_backward(x, weight)

    def differentiate(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # for the gradient of the gradient
            gradients: Any = product_of(ctx.rest[:-1]).dense_backward(dy, x, weight, wanted)
        else:
            operator = getattr(torch.ops.espalier, f"{name}_backward")
            gradients = operator(dy, x, weight, *ctx.rest, wanted)
        kept = (each if asked else None for each, asked in zip(gradients, wanted, strict=True))
        return *kept, *(None for _ in ctx.rest)

    _library.impl(name, forward, "CPU")
    _library.impl(f"{name}_backward", backward, "CPU")
    torch.library.register_fake(f"espalier::{name}", fake_forward, lib=_library)
    torch.library.register_fake(f"espalier::{name}_backward", fake_backward, lib=_library)
    torch.library.register_autograd(
        f"espalier::{name}", differentiate, setup_context=remember, lib=_library
    )


def _call_of(
    handle: int,
    kind: str,
    product: Product,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dy: Tensor | None = None,
) -> Call | None:
    """The call of a layer; None where PyTorch's operators answer: also if the layer is gone."""
    choices = LayerChoices.of(handle)
    if (
        choices is None
        or not is_supported(x, weight, bias, dy)
        or not product.fits(x, weight, bias)
    ):
        return None
    threads = torch.get_num_threads()
    site = choices.site(product, x.shape, weight.shape, threads)
    return Call(product, site, threads, site.looks(kind))


def _new(like: Tensor) -> Tensor:
    """An empty tensor with the strides that every result of an operator has."""
    layout = torch.channels_last if like.dim() == 4 else torch.contiguous_format
    return torch.empty(like.shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _settled(result: Tensor) -> Tensor:
    """A result with just those strides, copied only if need be."""
    settled = _new(result)
    return result if result.stride() == settled.stride() else settled.copy_(result)


_register("convolution", Convolution, "int[2] stride, int[2] padding, ")
_register("linear", Linear, "")
