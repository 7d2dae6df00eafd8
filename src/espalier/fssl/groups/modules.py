"""Questions about one module: its kind, its units, its weights, and the axis of its channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, TypeVar

import torch
from torch import nn

from espalier.nn import SparseLinear, ZeroSkipConv2d, ZeroSkipLinear

ModelT = TypeVar("ModelT", bound=nn.Module)
_SUPPORTED = (
    *(nn.Linear, nn.Conv2d, SparseLinear, ZeroSkipConv2d, ZeroSkipLinear),
    *(nn.BatchNorm1d, nn.BatchNorm2d),
)


def is_sparse(module: nn.Module) -> bool:
    """Whether a layer keeps its weights on a sparse pattern."""
    return isinstance(module, SparseLinear)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def is_supported(module: nn.Module) -> bool:
    """Whether a layer or norm is of a class known here and has no hooks: its weights say it all."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module) in _SUPPORTED and not hooks


def units_of(module: Any) -> int:
    """Units a layer makes; 0 for a module that is no layer."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    return module.out_features if isinstance(module, nn.Linear) or is_sparse(module) else 0


def channel_axis(module: nn.Module, dimensions: int) -> int:
    """The axis of a layer's input or output along which its units lie."""
    return dimensions - (3 if isinstance(module, nn.Conv2d) else 1)


def weight_of(module: Any) -> nn.Parameter:
    """The weights of a layer; of a sparse one, the values of its non-zeros."""
    weight: nn.Parameter = module.values if is_sparse(module) else module.weight
    return weight


def kernel_area(module: Any) -> int:
    """Weights between an input and an output channel; 1 for a linear layer."""
    return prod(module.kernel_size) if isinstance(module, nn.Conv2d) else 1


def without_compiler(model: ModelT) -> ModelT:
    """The module that `torch.compile` was given, or the module itself."""
    original: ModelT = getattr(model, "_orig_mod", model)
    return original


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Models in evaluation mode and without gradients for the block; each module's mode returns."""
    training = [module for model in models for module in model.modules() if module.training]
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
