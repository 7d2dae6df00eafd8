"""The layers of a PyTorch model as sparse layers of ours, one column for each weight of a unit."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.fssl.groups.find import is_sparse
from espalier.network import Layer
from espalier.nn import SparseLinear, ZeroSkipConv2d, ZeroSkipLinear

_PLAIN = (
    *(nn.Linear, nn.Conv2d, SparseLinear, ZeroSkipConv2d, ZeroSkipLinear),
    *(nn.BatchNorm1d, nn.BatchNorm2d),
)


def is_layer(module: nn.Module) -> bool:
    """Whether a module has weights that its units can be removed from."""
    return isinstance(module, (nn.Linear, nn.Conv2d)) or is_sparse(module)


def is_supported(module: nn.Module) -> bool:
    """Whether a layer or norm computes what its weights say and nothing else happens at its call.

    A subclass or a hook may do anything beside.
    """
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module) in _PLAIN and not hooks


def taps(module: Any) -> int:
    """Weights between a channel and a unit: the area of a kernel, 1 for a linear layer."""
    return prod(module.kernel_size) if isinstance(module, nn.Conv2d) else 1


def read_layer(module: Any) -> Layer:
    """The non-zero weights ``[outputs, inputs * taps]`` and the bias of a layer.

    >>> read_layer(nn.Conv2d(2, 3, 5))
    Layer(50 -> 3, 150 connections, identity)
    """
    bias = 0.0 if module.bias is None else numbers(module.bias)
    if not is_sparse(module):
        return Layer(numbers(module.weight.flatten(1)), bias, "identity")
    columns, offsets = module.column_indices.numpy(), module.row_offsets.numpy()
    shape = (module.out_features, module.in_features)
    weights = sp.csr_array((numbers(module.values), columns, offsets), shape=shape, copy=True)
    weights.eliminate_zeros()
    return Layer(weights, bias, "identity")


def numbers(tensor: Tensor) -> NDArray[np.float32]:
    """A float32 tensor as numpy."""
    return tensor.detach().to(torch.float32).numpy()
