"""What PyTorch's functions do to the axis along which a tensor counts units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

# Names as `name_of` gives them.
ELEMENTWISE = {
    *("relu", "leaky_relu", "gelu", "silu", "elu", "hardtanh", "relu6", "softplus", "sigmoid"),
    *("tanh", "threshold", "clamp", "clamp_min", "clamp_max", "abs", "neg", "square"),
    *("dropout", "dropout1d", "dropout2d", "feature_dropout", "alpha_dropout"),
    *("contiguous", "to", "float", "double", "clone", "detach", ".data"),
}
POOLING = {
    *("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate")
}
ARITHMETIC = {
    f"{before}{name}"
    for name in ("add", "sub", "mul", "div", "truediv")
    for before in ("", "i", "r")
}
RESHAPING = {"flatten", "view", "reshape"}
AVERAGING = {"mean", "sum"}
CONSTANT = {f"new_{name}" for name in ("ones", "zeros", "empty", "full")} | {
    f"{name}_like" for name in ("ones", "zeros", "empty", "full")
}
_DESCRIBING = {
    *("size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "len"),
    *("element_size", "type", "get_device", "hash"),
}


def name_of(function: Callable[..., Any]) -> str:
    """A function's name without the underscores around it; of a property, with a dot before it.

    >>> import torch
    >>> name_of(torch.Tensor.__iadd__), name_of(torch.Tensor.add_), name_of(torch.Tensor.T.__get__)
    ('iadd', 'add', '.T')
    """
    name = getattr(function, "__name__", str(function)).strip("_")
    owner = getattr(function, "__self__", None)
    return f".{owner.__name__}" if name in ("get", "set") and owner is not None else name


def describes(name: str) -> bool:
    """Whether a function that gives no tensor describes a tensor's shape and kind alone.

    >>> describes("size"), describes(".shape"), describes("is_contiguous"), describes("tolist")
    (True, True, True, False)
    """
    about = name.startswith((".", "is_")) and name != "is_nonzero"
    return about or name in _DESCRIBING


def keeps_channels(name: str, axis: int, dimensions: int) -> bool:
    """Whether an elementwise or pooling function maps each channel along this axis by itself.

    >>> keeps_channels("max_pool2d", 1, 4), keeps_channels("max_pool2d", 2, 3)
    (True, False)
    """
    if name == "interpolate":
        return axis <= 1
    return name in ELEMENTWISE or (name in POOLING and axis < dimensions - 2)


def averaged_axes(
    arguments: Sequence[Any], options: Mapping[str, Any], dimensions: int
) -> list[int]:
    """The axes, rising, that a call of ``mean`` or ``sum`` reduces.

    >>> averaged_axes(["x", (-1, 1)], {}, 4), averaged_axes(["x"], {}, 2)
    ([1, 3], [0, 1])
    """
    named = options.get("dim", options.get("axis"))
    axes = arguments[1] if len(arguments) > 1 else named
    if axes is None or axes == ():
        return list(range(dimensions))
    return sorted(axis % dimensions for axis in ([axes] if isinstance(axes, int) else axes))


def flattened(axis: int, before: Sequence[int], after: Sequence[int]) -> int | None:
    """The features that each channel becomes if all behind its axis is flattened; else None.

    >>> flattened(1, (2, 3, 4, 5), (2, 60)), flattened(1, (2, 3, 4, 5), (6, 20))
    (20, None)
    """
    positions = prod(before[axis + 1 :])
    return positions if tuple(after) == (*before[:axis], before[axis] * positions) else None


def may_divide_by_zero(name: str, counting: Sequence[bool]) -> bool:
    """Whether operands of arithmetic that count units stand below a fraction."""
    return "div" in name and (name.startswith("r") or any(counting[1:]))
