"""Make the modules of a model smaller, in place; `Select` takes the features they still read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import InputError
from espalier.fssl.groups.modules import is_norm, kernel_area, weight_of
from espalier.network import Layer
from espalier.nn import SparseLinear
from espalier.nn.zeroskip.layers import ZeroSkipLayer

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


class Select(nn.Module):
    """Passes on some features of each sample: ``x.index_select(-1, indices)``.

    It stands before a layer that reads fewer inputs than before, where no layer makes those inputs
    and could have become smaller too: the pixels of an image.

    Arguments:
        indices: int64 ``[kept]``, rising, below `in_features`.
        in_features: features along the last axis of what comes.

    >>> Select(torch.tensor([0, 2]), 3)(torch.tensor([[5.0, 6.0, 7.0]])).tolist()
    [[5.0, 7.0]]
    """

    indices: Tensor

    def __init__(self, indices: Tensor, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., kept]`` of ``[..., in_features]``.

        Raises:
            InputError: something else came.
        """
        traced: bool = torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
        if not traced and x.shape[-1:] != (self.in_features,):
            raise InputError(
                f"input is {list(x.shape)}, wanted [..., {self.in_features}]: all features, of "
                f"which {len(self.indices)} are read"
            )
        return x.index_select(-1, self.indices)

    def extra_repr(self) -> str:
        return f"{len(self.indices)} of {self.in_features}"


def resize(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module tensors of other sizes; it stays the same object, with its hooks and mode.

    Arguments:
        tensors: by name; a parameter the module lacks (a bias) is added to it.

    >>> layer = nn.Linear(3, 2, bias=False)
    >>> resize(layer, {"weight": torch.zeros(1, 2), "bias": torch.ones(1)})
    >>> layer, layer.bias.tolist()
    (Linear(in_features=2, out_features=1, bias=True), [1.0])
    """
    learns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    for name, tensor in tensors.items():
        if name not in module._parameters:
            module._buffers[name] = tensor
            continue
        old = module._parameters[name]
        module._parameters[name] = nn.Parameter(
            _laid_out_like(old, tensor), learns if old is None else old.requires_grad
        )
    _adopt_sizes(module)


def slice_layer(layer: Layer, rows: Any, columns: Any) -> Layer:
    """Some rows and columns of a layer, each a bool mask or None for all."""
    if rows is None and columns is None:
        return layer
    weights, bias = layer.weights, layer.bias
    if rows is not None:
        weights, bias = weights[rows], bias[rows]
    return Layer(weights if columns is None else weights[:, columns], bias, layer.activation)


def resize_layer(module: Any, layer: Layer) -> None:
    """Give a linear or convolution layer the weights and bias of a `Layer`."""
    dense = torch.from_numpy(layer.weights.toarray())
    shape = (layer.outputs, layer.inputs // kernel_area(module), *module.weight.shape[2:])
    resize(module, {"weight": dense.reshape(shape), **_bias(module, layer)})


def sparse_linear(old: Any, layer: Layer) -> Any:
    """A sparse layer with the weights and bias of a `Layer`; what learnt in the old one learns."""
    pattern = layer.row_offsets, layer.column_indices
    with torch.random.fork_rng(devices=[]):  # its own weights are drawn, and not used
        new = SparseLinear(layer.inputs, layer.outputs, _has_bias(old, layer), pattern=pattern)
    resize(new, {"values": torch.from_numpy(layer.values.copy()), **_bias(old, layer)})
    return _learning_like(old, new)


def resize_sparse(module: Any, layer: Layer) -> None:
    """Give a sparse layer the pattern, values and bias of a `Layer`."""
    pattern = {
        "row_offsets": torch.from_numpy(layer.row_offsets.copy()),
        "column_indices": torch.from_numpy(layer.column_indices.copy()),
    }
    values = torch.from_numpy(layer.values.copy())
    resize(module, {**pattern, "values": values, **_bias(module, layer)})
    module.in_features, module.out_features = layer.inputs, layer.outputs


def linear(old: Any, layer: Layer) -> Any:
    """A dense layer with the weights and bias of a `Layer`, to take the place of a sparse one."""
    new = nn.Linear(layer.inputs, layer.outputs, _has_bias(old, layer), device="meta")
    resize_layer(new, layer)
    return _learning_like(old, new)


def resize_norm(norm: Any, kept: NDArray[np.bool_]) -> None:
    """Keep some channels of a batch norm."""
    indices = torch.from_numpy(np.flatnonzero(kept))
    resize(
        norm,
        {
            name: tensor.detach()[indices]
            for name in NORM_TENSORS
            if (tensor := getattr(norm, name)) is not None
        },
    )
    norm.num_features = len(indices)


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, wherever it stands below the model."""
    new.train(old.training)
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # every name of a child that has several
            if child is old and parent is not new:
                setattr(parent, name, new)


def _has_bias(old: Any, layer: Layer) -> bool:
    return old.bias is not None or bool(layer.bias.any())


def _bias(old: Any, layer: Layer) -> dict[str, Tensor]:
    return {"bias": torch.from_numpy(layer.bias.copy())} if _has_bias(old, layer) else {}


def _learning_like(old: Any, new: Any) -> Any:
    """Weights and bias learn if the old ones did; a bias that is new, if the weights did."""
    learns = weight_of(old).requires_grad
    weight_of(new).requires_grad_(learns)
    if new.bias is not None:
        new.bias.requires_grad_(learns if old.bias is None else old.bias.requires_grad)
    return new


def _laid_out_like(old: Tensor | None, tensor: Tensor) -> Tensor:
    """The tensor in the memory format of the one it replaces."""
    nhwc = torch.channels_last
    if old is None or old.dim() != 4 or old.is_contiguous():
        return tensor.contiguous()
    return (
        tensor.contiguous(memory_format=nhwc) if old.is_contiguous(memory_format=nhwc) else tensor
    )


def _adopt_sizes(module: Any) -> None:
    """Let the numbers a module keeps of its sizes follow its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif is_norm(module) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
    if isinstance(module, ZeroSkipLayer):
        module.reset_tuner(module.passes)  # what it measured was for other sizes
