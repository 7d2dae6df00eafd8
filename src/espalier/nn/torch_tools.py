"""PyTorch's private functions, behind names that say what they answer; no other file calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

# What models raise for inputs they were not made for.
DOES_NOT_FIT = (RuntimeError, TypeError, ValueError, IndexError)
# The version of a tensor made in inference mode, which counts none.
UNKNOWN = -1
_ORDINARY = (Tensor, Parameter)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in an output or in arguments, however nested.

    >>> from torch import zeros
    >>> len(list(tensors_in({"x": zeros(1), "rest": (zeros(2), [zeros(3), "no tensor"])})))
    3
    """
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in([getattr(value, each.name) for each in fields(value)])
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)


def is_supported(
    tensor: Tensor,
    *parameters: Tensor | None,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
    on_gpu: bool = False,
) -> bool:
    """Whether all are ordinary tensors of one supported type, and nothing records or transforms.

    Whatever else comes (other types and devices, autocast, functorch, forward-mode gradients,
    tracing, dispatch modes) belongs to PyTorch's own operators.

    Arguments:
        dtypes: the supported types, of which all tensors must have the same.
        on_gpu: whether they must lie on a GPU in place of the CPU. Autocast does not count there:
            the caller has followed it.
    """
    dtype = tensor.dtype
    for each in (tensor, *parameters):
        if each is not None and not (
            type(each) in _ORDINARY
            and each.dtype is dtype
            and (each.is_cuda if on_gpu else each.is_cpu)
            and each.layout is torch.strided
        ):
            return False
    return dtype in dtypes and not (
        tensor.is_neg()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
        or (not on_gpu and torch.is_autocast_enabled("cpu"))
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )


def may_compile(*tensors: Tensor | None) -> bool:
    """Whether a program being compiled may call our operators for these tensors."""
    return (
        all(
            each is None or (each.dtype == torch.float32 and each.device.type == "cpu")
            for each in tensors
        )
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_exporting()
    )


def version_of(tensor: Tensor) -> int:
    """A number that rises with every operation in place; UNKNOWN in inference mode, without one."""
    return UNKNOWN if tensor.is_inference() else tensor._version


def is_view(tensor: Tensor) -> bool:
    """Whether autograd knows it as a view of another tensor."""
    return tensor._is_view()


def base_of(tensor: Tensor) -> Tensor | None:
    """The tensor of which this one is a view, if autograd knows one."""
    return tensor._base


def with_shape(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor in another shape, but no view, which an operation in place might not overwrite."""
    result: Tensor = torch.ops.aten._unsafe_view(tensor, shape)
    return result


def has_hooks(tensor: Tensor) -> bool:
    """Whether somebody sees the tensor's gradient: by a hook, or because it is retained."""
    return tensor.retains_grad or bool(tensor._backward_hooks)


def has_saved_tensor_hooks() -> bool:
    """Whether what autograd saves goes through hooks, of a checkpoint for one."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def saved_input(node: Any) -> Tensor | None:
    """The input that a node of the graph has saved, the object itself; None where it is gone."""
    # With hooks on saved tensors, what the graph gives back is another tensor.
    if getattr(node._raw_saved_self, "unpack_hook", node) is not None:
        return None
    try:
        saved: Tensor = node._saved_self
    except RuntimeError:  # freed by an earlier backward pass
        return None
    return saved


def will_execute(node: Any, *, if_captured: bool) -> bool:
    """Whether the backward pass that is under way runs a node of the graph.

    Arguments:
        if_captured: the answer for a leaf whose gradient `torch.autograd.grad` hands out.
    """
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:
        return if_captured


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Let PyTorch use so many threads within the block; None leaves them as they are.

    Returns:
        the number in force.

    >>> with torch_threads(1) as threads:
    ...     threads, torch.get_num_threads()
    (1, 1)
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
