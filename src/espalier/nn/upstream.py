"""Where the gradient of a layer's input is needed: nowhere that a ReLU before it stops it.

Where x came out of a ReLU and is 0, the gradient by x dies in that ReLU whatever it is. So the
layer may leave it out there, and nothing upstream changes. This is read from the graph at each
backward call, never assumed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Steps whose output is 0 only where all the entries of their input that its gradient reaches are 0.
# Max-pooling hands the gradient to the entry that was taken, which is then the 0 itself; the others
# move entries. Not among them: dropout, which the graph cannot tell from any product (a product of
# two small numbers is 0 as well), average pooling and sums, for the same reason.
_STEPS = {
    "AdaptiveMaxPool2DBackward0",
    "CloneBackward0",
    "MaxPool2DWithIndicesBackward0",
    "PermuteBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward0",
    "TransposeBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}
_MOST_STEPS = 8


def is_stopped_at_zero(x: Tensor) -> bool:
    """Whether the gradient by x dies wherever x is 0, and nobody looks at it before.

    False when x is a leaf, retains its gradient, has hooks, or came by steps other than a ReLU
    followed by max-pooling, views and copies. A hook on a tensor *between* the ReLU and x cannot be
    seen from here: it would see zeros where that tensor is 0.
    """
    seen = [x] if x._base is None else [x, x._base]
    if x.grad_fn is None or any(each.retains_grad or each._backward_hooks for each in seen):
        return False
    node: Any = x.grad_fn
    for _ in range(_MOST_STEPS):
        name = type(node).__name__
        if name in ("ReluBackward0", "_ReLUWithMaskBackward"):
            return True
        if name not in _STEPS:
            return False
        node = node.next_functions[0][0]
    return False


def is_plain_backward(node: Any) -> bool:
    """Whether `node`'s weight is about to accumulate its gradient, as ``loss.backward()`` does.

    ``torch.autograd.grad`` may have been asked for the gradient by x itself, which must then be
    whole; it accumulates nothing.

    Arguments:
        node: the graph's node of a layer, whose inputs are x and the weight.
    """
    weight = node.next_functions[1][0]
    if weight is None or type(weight).__name__ != "AccumulateGrad":
        return False
    try:
        return bool(torch._C._will_engine_execute_node(weight))
    except RuntimeError:  # captured by torch.autograd.grad
        return False
