"""Our layers as operators of `torch.library`, which a compiled program calls as they are.

In eager mode a layer calls its kernels directly: a dispatched operator costs some microseconds
more, and has nothing to attach a mask to. An operator takes tensors and numbers alone, so it finds
what belongs to its layer by a handle.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor

NeedsInputGrad: TypeAlias = tuple[bool, bool, bool]
Gradients: TypeAlias = tuple[Tensor | None, Tensor | None, Tensor | None]

_LIBRARY = torch.library.Library("espalier", "DEF")


class HasHandle:
    """An object that operators find by a number, its handle, as long as it lives.

    Attributes:
        handle: the number.

    >>> one = HasHandle()
    >>> HasHandle.of(one.handle) is one, HasHandle.of(0)
    (True, None)
    """

    __slots__ = ("__weakref__", "handle")

    _numbers = itertools.count(1)
    _by_handle: ClassVar[weakref.WeakValueDictionary[int, Any]] = weakref.WeakValueDictionary()

    def __init__(self) -> None:
        self.handle = next(self._numbers)
        self._by_handle[self.handle] = self

    @classmethod
    def of(cls, handle: int) -> Self | None:
        """The object of this class with this handle; None if it is gone."""
        found = cls._by_handle.get(handle)
        return found if isinstance(found, cls) else None


def register(
    name: str,
    arguments: str,
    *,
    forward: Callable[..., Tensor],
    fake_forward: Callable[..., Tensor],
    backward: Callable[..., Gradients],
    dense_backward: Callable[..., Gradients],
    empty_like: Callable[[Tensor], Tensor],
) -> None:
    """Define the operator of a layer, ``espalier::name``, and that of its backward pass.

    Arguments:
        arguments: what stands between the bias and the handle in the operator's schema.
        forward: the output, from all that the operator takes.
        fake_forward: an empty output with the same shape and strides.
        backward: the gradients by x, weight and bias, from (dy, x, weight, the arguments, the
            handle, which of the three are needed).
        dense_backward: the same by PyTorch's operators alone, and without a handle: for the
            gradient of the gradient.
        empty_like: an empty tensor with the strides of the gradient by this one.
    """
    rest = f"{arguments}int handle"
    _LIBRARY.define(f"{name}(Tensor x, Tensor weight, Tensor? bias, {rest}) -> Tensor")
    _LIBRARY.define(
        f"{name}_backward(Tensor dy, Tensor x, Tensor weight, {rest}, bool[3] needs_input_grad)"
        " -> (Tensor, Tensor, Tensor)"
    )

    def whole_backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        *others, needed = rest
        by_x, by_weight, by_bias = backward(dy, x, weight, *others, tuple(needed))
        return (
            dy.new_empty(0) if by_x is None else with_strides(by_x, empty_like(x)),
            dy.new_empty(0) if by_weight is None else with_strides(by_weight, empty_like(weight)),
            dy.new_empty(0) if by_bias is None else by_bias,
        )

    def fake_backward(dy: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        by_x, by_weight, by_bias = rest[-1]
        return (
            empty_like(x) if by_x else dy.new_empty(0),
            empty_like(weight) if by_weight else dy.new_empty(0),
            dy.new_empty(dy.shape[1] if by_bias else 0),
        )

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *others = inputs
        tensors = [each for each in others if isinstance(each, Tensor)]
        ctx.save_for_backward(x, weight, *tensors)
        ctx.others = others[len(tensors) :]
        ctx.count = len(others)

    def differentiate(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[:3]
        *others, handle = ctx.others
        inputs = dy, *ctx.saved_tensors, *others
        if torch.is_grad_enabled():
            gradients: Any = dense_backward(*inputs, needed)
        else:
            operator = getattr(torch.ops.espalier, f"{name}_backward")
            gradients = operator(*inputs, handle, needed)
        results = (each if wanted else None for each, wanted in zip(gradients, needed, strict=True))
        return *results, *(None for _ in range(ctx.count))

    _LIBRARY.impl(name, forward, "CPU")
    _LIBRARY.impl(f"{name}_backward", whole_backward, "CPU")
    torch.library.register_fake(f"espalier::{name}", fake_forward, lib=_LIBRARY)
    torch.library.register_fake(f"espalier::{name}_backward", fake_backward, lib=_LIBRARY)
    torch.library.register_autograd(
        f"espalier::{name}", differentiate, setup_context=setup_context, lib=_LIBRARY
    )


def with_strides(result: Tensor, empty: Tensor) -> Tensor:
    """A result with the strides of an empty tensor, copied into that only if need be."""
    return result if result.stride() == empty.stride() else empty.copy_(result)
