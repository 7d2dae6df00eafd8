"""Where the gradient of a layer's input is needed: nowhere that a ReLU before it stops it.

Where x came out of a ReLU and is 0, the gradient by x dies in that ReLU whatever it is. So the
layer may leave it out there, and no gradient before that ReLU changes. This is read from the graph
at each backward call, never assumed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from espalier.nn.torch_tools import base_of, has_hooks, saved_input, will_execute

_RELUS = {"ReluBackward0", "_ReLUWithMaskBackward"}
# Their output is 0 only where the entry that was taken is 0, and that alone gets the gradient.
# Not among them: dropout, which the graph cannot tell from any product (a product of two small
# numbers is 0 as well), average pooling and sums, for the same reason.
_POOLINGS = {"AdaptiveMaxPool2DBackward0", "MaxPool2DWithIndicesBackward0"}
_MOST_STEPS = 4


def is_stopped_at_zero(x: Tensor) -> bool:
    """Whether the gradient by x dies wherever x is 0, and nobody sees it on the way.

    True where x is the output of a ReLU, or max-pooling or a view of one, and neither x nor any
    tensor between retains its gradient or has hooks; a tensor that the graph cannot name counts as
    one that may. A pre-hook on a *node* of the graph (``x.grad_fn.register_prehook``) cannot be
    seen from here: it would see zeros where x is 0.
    """
    tensor: Tensor | None = x
    for _ in range(_MOST_STEPS):
        if tensor is None or has_hooks(tensor):
            return False
        if type(tensor.grad_fn).__name__ in _RELUS:
            return True
        tensor = _taken_from(tensor)
    return False


def _taken_from(tensor: Tensor) -> Tensor | None:
    """The tensor of which this one is a view or the maxima; None if there is none, or it is gone.

    It is the object that others may have put hooks on, not one of equal value.
    """
    node: Any = tensor.grad_fn
    if node is None:
        return None
    if type(node).__name__ in _POOLINGS:
        return saved_input(node)
    base = base_of(tensor)
    return base if base is not None and base.grad_fn is node.next_functions[0][0] else None


def is_plain_backward(node: Any) -> bool:
    """Whether `node`'s weight is about to accumulate its gradient, as ``loss.backward()`` does.

    ``torch.autograd.grad`` may have been asked for the gradient by x itself, which must then be
    whole; it accumulates nothing. ``backward(inputs=[x])`` retains the gradient of x, which
    `is_stopped_at_zero` sees.

    Arguments:
        node: the graph's node of a layer, whose inputs are x and the weight.
    """
    weight = node.next_functions[1][0]
    is_leaf = type(weight).__name__ == "AccumulateGrad"
    return is_leaf and will_execute(weight, if_captured=False)
