"""A layer in eager mode: its output, and the node that it leaves in the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.nn.call import Call
from espalier.nn.choice import INFERENCE, TRAINING, LayerChoices
from espalier.nn.plain import is_plain
from espalier.nn.products import Product


def apply(
    product: Product,
    choices: LayerChoices,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    source: Tensor,
) -> Tensor:
    """The output of a layer; each pass runs the variant that is the cheapest at its density.

    Arguments:
        x, weight, bias: plain ones (`is_plain`) that fit `product`.
        source: the tensor of which x is a view, or x itself; a mask may have been left on it.
    """
    threads = torch.get_num_threads()
    site = choices.site(product, x.shape, weight.shape, threads)
    given, x = x, product.layout(x)
    learns = torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )
    look = site.looks(TRAINING if learns else INFERENCE)
    if not look and site.is_dense(learns) and not (learns and _are_saved_tensors_watched()):
        return product.dense_forward(x, weight, bias)
    call = Call(product, site, threads, look, product.mask_of(source), given is x)
    if not learns:
        return call.forward(x, weight, bias)
    y: Tensor = _ZeroSkip.apply(x, weight, bias, call)  # type: ignore[no-untyped-call]
    return y


def _are_saved_tensors_watched() -> bool:
    """Whether, for one, a checkpoint is at work: it wants a repeated call to save the same."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class _ZeroSkip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, call: Call) -> Tensor:
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return call.forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return None, None, None, None
        call, wanted = ctx.call, ctx.needs_input_grad[:3]
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(dy):
            # The gradient's own gradient, or one that is transformed, is PyTorch's.
            return (*call.product.dense_backward(dy, x, weight, wanted), None)
        return (*call.backward(dy, x, weight, wanted, ctx), None)
