"""Layers of any width to time, over random numbers that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from espalier.fssl.groups.groups import LayerUse
from espalier.fssl.latency.grid import Point
from espalier.nn import SparseLinear

Work = Callable[[], object]


class Samples:
    """Makes works: each runs one layer, as an ordinary module, over one batch.

    Arguments:
        layers: with their modules in the model.
        batch: samples of a batch.
    """

    def __init__(self, layers: Iterable[tuple[LayerUse, nn.Module]], batch: int) -> None:
        self._modules: dict[LayerUse, Any] = dict(layers)
        self._batch = batch
        widest = max(batch * self._features(layer, layer.in_width) for layer in self._modules)
        largest = max(layer.weights(layer.in_width, layer.out_width) for layer in self._modules)
        generator = torch.Generator().manual_seed(0)
        self._numbers = torch.rand(max(widest, largest), generator=generator) + 0.5

    def dense(self, layer: LayerUse, point: Point) -> Work:
        """The layer with fewer units; the model's own if none can be removed."""
        x, module = self._input(layer, point.inputs), self._modules[layer]
        if layer.inputs is not None or layer.outputs is not None or layer.kind == "sparse":
            module = self._narrow(layer, point)
        return lambda: module(x)

    def csr(self, layer: LayerUse, point: Point) -> Work:
        """The layer with so many units and non-zeros."""
        x = self._input(layer, point.inputs)
        weight = self._taken(point.outputs, point.inputs * layer.repeat)
        outputs, inputs = weight.shape
        mask = learnt_pattern(outputs, inputs, point.nonzeros or weight.numel())
        module = SparseLinear.from_dense(weight, torch.zeros(point.outputs), mask)
        return lambda: module(x)

    def gather(self, layer: LayerUse, kept: int) -> Work:
        """Selecting some of the layer's inputs."""
        x = self._input(layer, layer.in_width)
        columns = torch.linspace(0, x.shape[1] - 1, kept * layer.repeat).round().long()
        return lambda: x.index_select(1, columns)

    def _narrow(self, layer: LayerUse, point: Point) -> Any:
        if layer.kind != "conv":
            made = skip_init(nn.Linear, point.inputs * layer.repeat, point.outputs)
        else:
            full = self._modules[layer]
            made = skip_init(
                nn.Conv2d,
                point.inputs,
                point.outputs,
                layer.kernel,
                full.stride,
                full.padding,
                full.dilation,
            )
        made.weight = nn.Parameter(self._taken(*made.weight.shape), requires_grad=False)
        made.bias = nn.Parameter(torch.zeros(point.outputs), requires_grad=False)
        return made

    def _input(self, layer: LayerUse, units: int) -> Tensor:
        if layer.kind == "conv":
            return self._taken(self._batch, units, *layer.size)
        return self._taken(self._batch, units * layer.repeat)

    def _features(self, layer: LayerUse, units: int) -> int:
        return units * layer.repeat * layer.size[0] * layer.size[1]

    def _taken(self, *shape: int) -> Tensor:
        return self._numbers[: math.prod(shape)].view(shape)


def learnt_pattern(outputs: int, inputs: int, nonzeros: int) -> Tensor:
    """A mask ``[outputs, inputs]`` with rows and columns of very different fill, as learnt ones.

    >>> int(learnt_pattern(4, 5, 7).sum())
    7
    """
    rng = np.random.default_rng(0)
    scores = rng.random((outputs, inputs), np.float32)
    scores *= np.exp(rng.normal(0.0, 0.7, (outputs, 1))) * np.exp(rng.normal(0.0, 0.7, inputs))
    mask = np.zeros(scores.size, np.bool_)
    mask[np.argpartition(scores, -nonzeros, axis=None)[-nonzeros:]] = True
    return torch.from_numpy(mask.reshape(scores.shape))
