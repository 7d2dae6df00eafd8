"""What we ask of PyTorch beyond its public face: the one place that knows its private parts."""

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
_PLAIN = (Tensor, Parameter)


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


def is_supported(tensor: Tensor, *parameters: Tensor | None) -> bool:
    """Whether all are ordinary float32 tensors on the CPU, and nothing records or transforms.

    Whatever else comes (other types and devices, autocast, functorch, forward-mode gradients,
    tracing, dispatch modes) belongs to PyTorch's own operators.
    """
    for each in (tensor, *parameters):
        if each is not None and not (
            type(each) in _PLAIN
            and each.dtype is torch.float32
            and each.is_cpu
            and each.layout is torch.strided
        ):
            return False
    return not (
        tensor.is_neg()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )


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
