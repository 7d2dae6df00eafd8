"""A layer in eager mode: its output, and the node that it leaves in the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.nn.torch_tools import is_supported
from espalier.nn.zeroskip.autotune import INFERENCE, TRAINING, LayerChoices
from espalier.nn.zeroskip.bitmask import Mask
from espalier.nn.zeroskip.dispatch import Call, Operand
from espalier.nn.zeroskip.ops import Product, Wanted


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
        x, weight, bias: plain ones (`is_supported`) that fit `product`.
        source: the tensor of which x is a view, or x itself; a mask may have been left on it.
    """
    threads = torch.get_num_threads()
    site = choices.site(product, x.shape, weight.shape, threads)
    given, x = x, product.layout(x)
    learns = torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )
    look = site.looks(TRAINING if learns else INFERENCE)
    watched = learns and _are_saved_tensors_watched()
    if not look and site.is_dense(learns) and not watched:
        return product.dense_forward(x, weight, bias)
    # What is saved elsewhere comes back as another tensor, without its hooks.
    call = Call(product, site, threads, look, untouched=given is x and not watched)
    operand = call.operand(x, product.mask_of(source))
    if not learns:
        return call.forward(operand, weight, bias)
    y: Tensor = _ZeroSkip.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, call, operand, not watched
    )
    return y


def _are_saved_tensors_watched() -> bool:
    """Whether, for one, a checkpoint is at work: it wants a repeated call to save the same."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class _ZeroSkip(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        call: Call,
        operand: Operand,
        keep_mask: bool,
    ) -> Tensor:
        y = call.forward(operand, weight, bias)
        # Whether there is a mask depends on the choice in force, and a repeated call must not.
        mask = operand.known_mask if keep_mask else None
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, None if mask is None else mask.to_tensor())
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        rest = None, None, None
        if dy is None:
            return None, None, None, *rest
        call, wanted = ctx.call, _wanted(ctx)
        x, weight, bits = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_supported(dy):
            # The gradient's own gradient, or one that is transformed, is PyTorch's.
            return *call.product.dense_backward(dy, x, weight, wanted), *rest
        mask = None if bits is None else Mask.from_tensor(bits, x.shape[1])
        return *call.backward(dy, call.operand(x, mask), weight, wanted, ctx), *rest


def _wanted(ctx: Any) -> Wanted:
    """Of which of x, weight and bias the gradient is used: ``autograd.grad`` may want one only."""
    asked, nodes = ctx.needs_input_grad, ctx.next_functions
    by_input, by_weight, by_bias = (asked[i] and _runs(nodes[i][0]) for i in range(3))
    return by_input, by_weight, by_bias


def _runs(node: Any) -> bool:
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf of which the gradient is handed out
        return True
