"""ReLU that attaches its mask to its output, for its own backward pass and the layers around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.kernels import relu_backward, relu_forward
from espalier.nn.torch_tools import is_supported, is_view
from espalier.nn.zeroskip.bitmask import Mask, attach, sampled_density
from espalier.nn.zeroskip.ops import Convolution, LayerOp, Linear

# The gradient takes over the ReLU's mask if it is nearly as dense: a scan would then find little
# more. Behind a max-pooling it has many more zeros.
_FULL = 0.9


class ZeroSkipReLU(nn.ReLU):
    """`torch.nn.ReLU` whose output carries the mask of its non-zeros.

    Output and mask are made in one pass over memory. The next zero-skip layer finds the mask on its
    input, the layer before finds one on its gradient, and the backward pass keeps the mask, one bit
    an entry, instead of the output. An in-place operation on the output makes the mask void, and so
    does a new ``y.data``; a write through ``y.data`` or ``y.numpy()`` is not seen, as PyTorch's own
    checks do not see it.

    Arguments:
        inplace: overwrite the input, as in `torch.nn.ReLU`.

    >>> ZeroSkipReLU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """``max(input, 0)``."""
        if torch.compiler.is_compiling() or not is_supported(input) or 0 in input.shape:
            return super().forward(input)
        layout = _layout_of(input)
        if layout is None or torch.is_inference_mode_enabled():  # no tensor keeps a mask there
            return super().forward(input)
        if self.inplace and ((input.is_leaf and input.requires_grad) or is_view(input)):
            return super().forward(input)  # which may refuse
        masks: list[Mask] = []
        y: Tensor = _ReLUWithMask.apply(  # type: ignore[no-untyped-call]
            input, layout, self.inplace, masks
        )
        attach(y, masks[0])
        return y


def _layout_of(x: Tensor) -> LayerOp | None:
    """The kind of layer whose layout a tensor has; None if it has gaps or another order."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return Convolution()
    return Linear() if x.dim() and x.is_contiguous() else None


class _ReLUWithMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: LayerOp, inplace: bool, masks: list[Mask]) -> Tensor:
        threads = torch.get_num_threads()
        if inplace:
            y = x.relu_()
            ctx.mark_dirty(x)
            mask = Mask.of(layout.rows(y), threads)
        else:
            rows, bits = relu_forward(layout.rows(x), threads=threads)
            y, mask = layout.tensor(rows), Mask(bits, rows.shape[-1])
        ctx.set_materialize_grads(False)
        ctx.layout, ctx.channels = layout, mask.channels
        ctx.save_for_backward(mask.to_tensor())
        masks.append(mask)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if dy is None:
            return None, None, None, None
        op: LayerOp = ctx.layout
        (bits,) = ctx.saved_tensors
        mask = Mask.from_tensor(bits, ctx.channels)
        threads = torch.get_num_threads()
        if torch.is_grad_enabled() or not is_supported(dy):
            ones = op.rows(op.layout(torch.ones(dy.shape, dtype=torch.float32, device="cpu")))
            passes = op.tensor(relu_backward(ones, mask.bits, threads=threads)) != 0
            return torch.where(passes, dy, 0.0), None, None, None
        rows = relu_backward(op.rows(op.layout(dy)), mask.bits, threads=threads)
        dx = op.tensor(rows)
        if sampled_density(rows) >= _FULL * mask.density:
            attach(dx, mask)
        return dx, None, None, None
