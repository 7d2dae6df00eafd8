"""Layers of PyTorch as layers of ours: one module, or a model that is a chain of them.

Modules are recognised by what they have, so that this file needs no room that needs PyTorch:
``row_offsets``, ``column_indices`` and ``values`` make a sparse layer, ``indices`` without a weight
a selection of features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike, NDArray

from espalier.errors import MissingExtraError, NetworkError
from espalier.network.layer import Activation, Layer

# Steps that leave a batch of feature vectors as it is, in evaluation mode.
_NO_CHANGE = frozenset(("Dropout", "AlphaDropout", "Identity", "Sequential", "dropout"))
_FIX = (
    "from_torch takes Linear, SparseLinear, BatchNorm1d, ReLU, Flatten, Dropout and Identity one "
    "after the other; give it the part of the model that is such a chain"
)


@dataclass(frozen=True)
class _Link:
    """One layer of a chain, in float64 until all is folded into it."""

    weights: sp.csr_array[Any, tuple[int, int]]
    bias: NDArray[np.float64]
    activation: Activation = "identity"
    clip: float | None = None


def read_layer(module: Any) -> Layer:
    """The non-zero weights ``[outputs, inputs * taps]`` and the bias of a linear or convolution.

    >>> from torch import nn
    >>> read_layer(nn.Conv2d(2, 3, 5))
    Layer(50 -> 3, 150 connections, identity)
    """
    weights = _weights(module, np.float32)
    weights.eliminate_zeros()
    return Layer(weights, 0.0 if module.bias is None else _numbers(module.bias), "identity")


def read_chain(model: Any) -> list[Layer]:
    """The layers of a chain, with selections and batch norms folded in, in evaluation mode.

    Arguments:
        model: a `torch.nn.Module` whose forward pass is a chain: each step reads the one before.

    Raises:
        NetworkError: a step that is no layer of a chain; it is named.
        MissingExtraError: torch is not installed.
    """
    chain = _Chain()
    for name, step in _steps(model):
        chain.add(name, step)
    return [Layer(link.weights, link.bias, link.activation, link.clip) for link in chain.finish()]


class _Chain:
    """The links so far, and the selection that the next linear layer reads from."""

    def __init__(self) -> None:
        self._links: list[_Link] = []
        self._selection: tuple[str, NDArray[np.int64], int] | None = None

    def add(self, name: str, step: Any) -> None:
        kind = step if isinstance(step, str) else type(step).__name__
        if kind in _NO_CHANGE or (kind == "Flatten" and step.start_dim == 1):
            return
        if hasattr(step, "indices") and not hasattr(step, "weight"):
            if self._selection is not None:
                raise NetworkError(
                    f"{name} selects from the selection {self._selection[0]}; {_FIX}"
                )
            self._selection = (name, step.indices.cpu().numpy(), int(step.in_features))
        elif hasattr(step, "row_offsets") or _is(step, "Linear"):
            bias = np.zeros(int(step.out_features)) if step.bias is None else _numbers(step.bias)
            self._links.append(_Link(self._over_all(_weights(step)), bias))
        elif _is(step, "BatchNorm1d"):
            self._normalise(name, step)
        elif kind in ("ReLU", "ZeroSkipReLU", "relu", "relu_"):
            self._activate(name, None)
        elif _is(step, "Hardtanh") and step.min_val == 0:
            self._activate(name, float(step.max_val))
        else:
            raise NetworkError(f"{name} is a {kind}, no layer of a chain; {_FIX}")

    def finish(self) -> list[_Link]:
        if self._selection is not None:
            raise NetworkError(f"no layer reads what {self._selection[0]} selects; {_FIX}")
        if not self._links:
            raise NetworkError(f"the model has no linear layer; {_FIX}")
        return self._links

    def _over_all(self, weights: sp.csr_array[Any, tuple[int, int]]) -> Any:
        """The weights over all features, where only some were selected."""
        if self._selection is None:
            return weights
        _, indices, width = self._selection
        self._selection = None
        shape = (weights.shape[0], width)
        return sp.csr_array((weights.data, indices[weights.indices], weights.indptr), shape=shape)

    def _normalise(self, name: str, step: Any) -> None:
        """Fold a batch norm into the linear layer before it, or make it a diagonal layer."""
        scale, shift = _affine(name, step)
        last = self._links[-1] if self._links else None
        if last is None or last.activation != "identity" or self._selection is not None:
            self._links.append(_Link(self._over_all(sp.csr_array(sp.diags_array(scale))), shift))
            return
        weights = sp.csr_array(last.weights.multiply(scale[:, np.newaxis]))
        self._links[-1] = _Link(weights, last.bias * scale + shift)

    def _activate(self, name: str, clip: float | None) -> None:
        last = self._links[-1] if self._links else None
        if last is None or last.activation != "identity" or self._selection is not None:
            raise NetworkError(f"{name} does not follow a linear layer; {_FIX}")
        self._links[-1] = replace(last, activation="relu", clip=clip)


def _steps(model: Any) -> list[tuple[str, Any]]:
    """The modules, or names of functions, that a model calls one after the other."""
    try:
        import torch
        from torch import fx
    except ImportError as error:
        raise MissingExtraError("torch", "train", "Network.from_torch") from error
    if not isinstance(model, torch.nn.Module):
        raise NetworkError(f"model is a {type(model).__name__}, wanted a torch.nn.Module")

    class Tracer(fx.Tracer):
        """Stops at layers, those of others than PyTorch too."""

        def is_leaf_module(self, module: Any, name: str) -> bool:
            return isinstance(module, torch.nn.Linear) or not any(module.children())

    if not any(model.children()):
        return [(type(model).__name__, model)]
    try:
        graph = Tracer().trace(model)
    except (TypeError, ValueError, RuntimeError, NameError) as error:
        raise NetworkError(f"the model's steps cannot be followed: {error}; {_FIX}") from error
    steps: list[tuple[str, Any]] = []
    before = None
    for node in graph.nodes:
        if node.op == "placeholder" and before is None:
            before = node
            continue
        if node.all_input_nodes != [before]:
            raise NetworkError(f"{node.name} does not read {before} alone; {_FIX}")
        if node.op == "call_module":
            steps.append((str(node.target), model.get_submodule(str(node.target))))
        elif node.op != "output" and not _flattens(node):
            steps.append((node.name, getattr(node.target, "__name__", str(node.target))))
        before = node
    return steps


def _flattens(node: Any) -> bool:
    """Whether a call is ``x.flatten(1)`` or ``torch.flatten(x, 1)``."""
    name = getattr(node.target, "__name__", node.target)
    start = node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim")
    return bool(name == "flatten" and start == 1)


def _is(step: Any, name: str) -> bool:
    """Whether a module is of a class of PyTorch of that name, or of a subclass."""
    return any(each.__name__ == name for each in type(step).__mro__)


def _weights(module: Any, dtype: DTypeLike = np.float64) -> sp.csr_array[Any, tuple[int, int]]:
    if not hasattr(module, "row_offsets"):
        weight = module.weight.flatten(1) if module.weight.ndim > 2 else module.weight
        return sp.csr_array(_numbers(weight, dtype))
    columns, offsets = (each.cpu().numpy() for each in (module.column_indices, module.row_offsets))
    arrays = _numbers(module.values, dtype), columns, offsets
    return sp.csr_array(
        arrays, shape=(int(module.out_features), int(module.in_features)), copy=True
    )


def _affine(name: str, norm: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift of a batch norm in evaluation mode."""
    if norm.running_mean is None:
        raise NetworkError(
            f"{name} has no running statistics, so its result depends on the batch; "
            "make it with track_running_stats=True"
        )
    scale = 1.0 / np.sqrt(_numbers(norm.running_var) + norm.eps)
    if norm.weight is not None:
        scale *= _numbers(norm.weight)
    shift = -_numbers(norm.running_mean) * scale
    return scale, shift if norm.bias is None else shift + _numbers(norm.bias)


def _numbers(tensor: Any, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    same = tensor.detach().double() if dtype is np.float64 else tensor.detach().float()
    return np.asarray(same.cpu().numpy(), dtype)
