"""The points at which layers are timed, and layers of those widths to time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from espalier.fssl.groups.groups import LayerUse
from espalier.nn import SparseLinear

Probe = Callable[[], object]  # runs a layer once
DENSE, CSR = "dense", "csr"
BACKENDS = DENSE, CSR
DENSITIES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
# Vector registers hold 8 or 16 numbers, so time rises in steps behind the multiples of 16.
STEP = 16
_FIRST = (1, 2, 4, 8, 12, 15)
# Ratio of one width to the next, finest first; the first whose grid is affordable is taken.
_RATIOS = (1.4, 2.0, 4.0)
_MOST_MULTIPLY_ADDS = 1e10
_HELD_OUT = 12
# Held-out widths lie between the full one and this part of it.
_NARROWEST = 32
# Steps of a sequence that fills the cube evenly: powers of the root of x^4 = x + 1.
_QUASI_RANDOM = (0.8191725134, 0.6710436067, 0.5497004779)


class Point(NamedTuple):
    """Units read, units made, and the non-zeros between them (None for a dense layer)."""

    inputs: int
    outputs: int
    nonzeros: int | None = None


class Points(NamedTuple):
    """Points to fit curves to, to choose a curve by, and to judge the choice by."""

    grid: list[Point]
    choosing: list[Point]
    held_out: list[Point]

    @property
    def all(self) -> list[Point]:
        """One after the other."""
        return [*self.grid, *self.choosing, *self.held_out]


def points(layer: LayerUse, batch: int, backend: str) -> Points:
    """The points at which to time a layer; always the same for the same shape.

    An axis whose units cannot be removed is measured at its full width alone.
    """
    if backend == DENSE:
        grids = (_dense_grid(layer, ratio) for ratio in _RATIOS)
        grid = next((each for each in grids if _is_affordable(layer, each, batch)), None)
        grid = _dense_grid(layer, _RATIOS[-1]) if grid is None else grid
        held_out = [Point(inputs, outputs) for inputs, outputs, _ in _spread(layer)]
    else:
        widths = product(_quarters(layer.inputs, layer.in_width), _quarters(*_made(layer)))
        grid = [_sparse(layer, *each, share) for each in widths for share in DENSITIES]
        held_out = [_sparse(layer, *each) for each in _spread(layer)]
    return Points(grid, held_out[::2], held_out[1::2])


class LayerProbes:
    """Makes probes: each runs one layer, as an ordinary module, over one batch of shared numbers.

    Arguments:
        layers: with their modules in the model.
        batch: samples of a batch.
    """

    def __init__(self, layers: Iterable[tuple[LayerUse, nn.Module]], batch: int) -> None:
        self._modules: dict[LayerUse, Any] = dict(layers)
        self._batch = batch
        widest = max(
            batch * layer.in_width * layer.repeat * math.prod(layer.size) for layer in self._modules
        )
        largest = max(layer.weights(layer.in_width, layer.out_width) for layer in self._modules)
        generator = torch.Generator().manual_seed(0)
        self._numbers = torch.rand(max(widest, largest), generator=generator) + 0.5

    def dense(self, layer: LayerUse, point: Point) -> Probe:
        """The layer with fewer units; the model's own if none can be removed."""
        x, module = self._input(layer, point.inputs), self._modules[layer]
        if layer.inputs is not None or layer.outputs is not None or layer.kind == "sparse":
            module = self._narrow(layer, point)
        return lambda: module(x)

    def csr(self, layer: LayerUse, point: Point) -> Probe:
        """The layer with so many units and non-zeros."""
        x = self._input(layer, point.inputs)
        weight = self._view(point.outputs, point.inputs * layer.repeat)
        outputs, inputs = weight.shape
        mask = learnt_pattern(outputs, inputs, point.nonzeros or weight.numel())
        module = SparseLinear.from_dense(weight, torch.zeros(point.outputs), mask)
        return lambda: module(x)

    def gather(self, layer: LayerUse, kept: int) -> Probe:
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
        made.weight = nn.Parameter(self._view(*made.weight.shape), requires_grad=False)
        made.bias = nn.Parameter(torch.zeros(point.outputs), requires_grad=False)
        return made

    def _input(self, layer: LayerUse, units: int) -> Tensor:
        if layer.kind == "conv":
            return self._view(self._batch, units, *layer.size)
        return self._view(self._batch, units * layer.repeat)

    def _view(self, *shape: int) -> Tensor:
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


def _dense_grid(layer: LayerUse, ratio: float) -> list[Point]:
    reads = _widths(layer.inputs, layer.in_width, ratio)
    makes = _widths(*_made(layer), ratio)
    return [Point(*each) for each in product(reads, makes)]


def _made(layer: LayerUse) -> tuple[int | None, int]:
    return layer.outputs, layer.out_width


def _widths(units: int | None, full: int, ratio: float) -> list[int]:
    """Some below one step, then multiples of it, each at least `ratio` times the one before."""
    if units is None:
        return [full]
    first = _FIRST if ratio < _RATIOS[-1] else _FIRST[::3]
    widths, last = [each for each in first if each < full], 1.0
    for width in range(STEP, full, STEP):
        if width >= last:
            widths.append(width)
            last = max(ratio * width, width + STEP)
            last = math.floor(last / STEP) * STEP
    return [*widths, full]


def _quarters(units: int | None, full: int) -> list[int]:
    if units is None:
        return [full]
    return sorted({1, -(-full // 16), -(-full // 4), full})


def _is_affordable(layer: LayerUse, grid: list[Point], batch: int) -> bool:
    multiply_adds = sum(layer.multiply_adds(point.inputs, point.outputs) for point in grid)
    return batch * multiply_adds <= _MOST_MULTIPLY_ADDS


def _spread(layer: LayerUse) -> Iterator[tuple[int, int, float]]:
    """Widths and densities spread evenly over their logarithms."""
    for count in range(1, 2 * _HELD_OUT + 1):
        first, second, third = ((0.5 + count * each) % 1.0 for each in _QUASI_RANDOM)
        yield (
            layer.in_width if layer.inputs is None else _log_spaced(first, layer.in_width),
            layer.out_width if layer.outputs is None else _log_spaced(second, layer.out_width),
            DENSITIES[0] * (DENSITIES[-1] / DENSITIES[0]) ** third,
        )


def _log_spaced(part: float, full: int) -> int:
    least = max(1, full // _NARROWEST)
    return round(least * math.pow(full / least, part))


def _sparse(layer: LayerUse, inputs: int, outputs: int, density: float) -> Point:
    return Point(inputs, outputs, max(1, round(density * layer.weights(inputs, outputs))))
