"""Time one pass of a layer on random data, dense and in every variant."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from espalier.nn.zeroskip.bitmask import Mask
from espalier.nn.zeroskip.latency import DENSITIES, VARIANTS, Curve
from espalier.nn.zeroskip.ops import Linear
from espalier.nn.zeroskip.problem import Case
from espalier.timing.interleave import minimum_seconds


class Measurement(NamedTuple):
    """A curve, and whether the machine was steady enough to believe it tomorrow."""

    curve: Curve
    steady: bool


def measure(case: Case, pass_name: str) -> Measurement:
    """Time one pass over random data, dense and every variant, interleaved; the best of each."""
    sample = _Sample(case)
    dense, best, steady = sample.dense(pass_name), math.inf, True
    variants: dict[str, list[float]] = {variant: [] for variant in VARIANTS[pass_name]}
    for density in DENSITIES:  # one at a time: each has tensors of its own
        works = [dense, *(sample.skipping(pass_name, each, density) for each in variants)]
        (fastest, *seconds), calm = minimum_seconds(works)
        best, steady = min(best, fastest), steady and all(calm)
        for times, time in zip(variants.values(), seconds, strict=True):
            times.append(time)
    curve = Curve(best, {variant: tuple(times) for variant, times in variants.items()})
    return Measurement(curve, steady)


class _Sample:
    """Random tensors of a case's shape."""

    def __init__(self, case: Case) -> None:
        self._product, self._threads = case.product, case.threads
        self._rng = np.random.default_rng(0)
        linear = isinstance(case.product, Linear)
        self._x = self._random((case.images, *(() if linear else case.size), case.channels))
        self._weight = self._random((case.filters, *(() if linear else case.kernel), case.channels))
        with torch.no_grad():
            y = case.product.dense_forward(self._x, self._weight, None)
        shape = y.shape if linear else (y.shape[0], *y.shape[2:], y.shape[1])
        self._dy = self._random(tuple(shape))

    def _random(self, shape: tuple[int, ...]) -> Tensor:
        values = self._rng.random(shape, np.float32)
        values += np.float32(0.5)
        return self._product.tensor(values)

    def _thinned(self, tensor: Tensor, density: float) -> Tensor:
        rows = self._product.rows(tensor)
        kept = self._rng.random(rows.shape, np.float32) < density
        return self._product.tensor(rows * kept)

    def dense(self, pass_name: str) -> Callable[[], object]:
        x, weight, dy = self._x, self._weight, self._dy
        if pass_name == "forward":
            return torch.no_grad()(partial(self._product.dense_forward, x, weight, None))
        wanted = (pass_name == "backward_input", pass_name == "backward_weight", False)
        return torch.no_grad()(partial(self._product.dense_backward, dy, x, weight, wanted))

    def skipping(self, pass_name: str, variant: str, density: float) -> Callable[[], object]:
        product, threads = self._product, self._threads
        x, weight, dy = self._x, self._weight, self._dy
        if variant == "gradient":
            dy = self._thinned(dy, density)
        else:
            x = self._thinned(x, density)

        def scan(tensor: Tensor) -> Mask:
            return Mask.of(product.rows(tensor), threads)

        def forward() -> object:
            return product.forward(x, weight, None, scan(x), threads)

        def backward_input() -> object:
            found = {"needed": scan(x)} if variant == "needed" else {"mask": scan(dy)}
            return product.backward_input(dy, weight, x, **found, threads=threads)

        def backward_weight() -> object:
            found = {"mask": scan(x)} if variant == "input" else {"dy_mask": scan(dy)}
            return product.backward_weight(x, dy, weight, **found, skip=variant, threads=threads)

        works = {
            "forward": forward,
            "backward_input": backward_input,
            "backward_weight": backward_weight,
        }
        return works[pass_name]
