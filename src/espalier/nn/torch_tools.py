"""The tensors in whatever a module takes or gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

# What models raise for inputs they were not made for.
DOES_NOT_FIT = (RuntimeError, TypeError, ValueError, IndexError)


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
