"""A layer in eager mode: its output, and the node that it leaves in the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espalier.nn.custom_ops import NeedsInputGrad
from espalier.nn.torch_tools import has_saved_tensor_hooks, is_supported, will_execute
from espalier.nn.zeroskip.autotune import INFERENCE, TRAINING, LayerTuner
from espalier.nn.zeroskip.bitmask import Mask
from espalier.nn.zeroskip.dispatch import LayerDispatch
from espalier.nn.zeroskip.ops import LayerOp, MaskedTensor


def apply(
    op: LayerOp,
    tuner: LayerTuner,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    source: Tensor,
) -> Tensor:
    """The output of a layer; each pass runs the variant that is the cheapest at its density.

    Arguments:
        x, weight, bias: supported ones (`is_supported`) of shapes that `op` supports.
        source: the tensor of which x is a view, or x itself; a mask may be attached to it.
    """
    threads = torch.get_num_threads()
    entry = tuner.entry(op, x.shape, weight.shape, threads)
    given, x = x, op.layout(x)
    requires_grad = torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )
    samples_density = entry.should_sample_density(TRAINING if requires_grad else INFERENCE)
    # A checkpoint wants a repeated call to save the same.
    hooked = requires_grad and has_saved_tensor_hooks()
    if not samples_density and entry.is_dense(requires_grad) and not hooked:
        return op.dense_forward(x, weight, bias)
    # What hooks have saved comes back as another tensor, without its hooks.
    untouched = given is x and not hooked
    dispatch = LayerDispatch(op, entry, threads, samples_density, untouched)
    masked = dispatch.masked(x, op.mask_of(source))
    if not requires_grad:
        return dispatch.forward(masked, weight, bias)
    y: Tensor = _ZeroSkip.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, dispatch, masked, not hooked
    )
    return y


class _ZeroSkip(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dispatch: LayerDispatch,
        masked: MaskedTensor,
        keep_mask: bool,
    ) -> Tensor:
        y = dispatch.forward(masked, weight, bias)
        # Whether there is a mask depends on the variant in force, and a repeated call must not.
        mask = masked.known_mask if keep_mask else None
        ctx.dispatch = dispatch
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, None if mask is None else mask.to_tensor())
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        rest = None, None, None
        if dy is None:
            return None, None, None, *rest
        dispatch, needed = ctx.dispatch, _needs_input_grad(ctx)
        x, weight, bits = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_supported(dy):
            # The gradient's own gradient, or one that is transformed, is PyTorch's.
            return *dispatch.op.dense_backward(dy, x, weight, needed), *rest
        mask = None if bits is None else Mask.from_tensor(bits, x.shape[1])
        return *dispatch.backward(dy, dispatch.masked(x, mask), weight, needed, ctx), *rest


def _needs_input_grad(ctx: Any) -> NeedsInputGrad:
    """Of which of x, weight and bias the gradient is used: ``autograd.grad`` may want one only."""
    needed, nodes = ctx.needs_input_grad, ctx.next_functions
    by_input, by_weight, by_bias = (
        needed[i] and will_execute(nodes[i][0], if_captured=True) for i in range(3)
    )
    return by_input, by_weight, by_bias
