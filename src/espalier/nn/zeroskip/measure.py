"""What each pass of a layer costs, dense and zero-skipping, measured on this machine.

A layer asks for the curves of its shape when it first sees it. They are measured once on random
data, in some milliseconds a variant, and kept in ``$XDG_CACHE_HOME/espalier`` for each processor,
instruction set and version. Variants are chosen from the curves alone and never from live timing,
so two runs with the same cache give the same bits. Times of an unsteady machine are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from espalier.nn.zeroskip.latency import DENSITIES, VARIANTS, LatencyCurve
from espalier.nn.zeroskip.ops import Linear, MaskedTensor
from espalier.nn.zeroskip.problem import ProblemShape
from espalier.timing.cache import MachineCache
from espalier.timing.interleave import minimum_seconds

FORMAT = 1


class LatencyCache:
    """Curves by problem and pass: from memory, from the cache file, or measured now."""

    def __init__(self, folder: Path | None = None) -> None:
        self._curves: dict[tuple[ProblemShape, str], LatencyCurve] = {}
        versions = f"{version('espalier')}-torch-{torch.__version__}"
        self._cache = MachineCache(f"layers-{FORMAT}-{versions}", folder)

    def curve(self, problem: ProblemShape, pass_name: str) -> LatencyCurve:
        """The curve of one pass."""
        try:
            return self._curves[problem, pass_name]
        except KeyError:
            pass
        key = problem.key(pass_name)
        try:
            curve = LatencyCurve.from_json(self._cache.get(key), VARIANTS[pass_name])
        except (ValueError, KeyError, TypeError):
            curve, steady = measure(problem, pass_name)
            if steady:
                self._cache.put({key: vars(curve)})
        self._curves[problem, pass_name] = curve
        return curve


LATENCIES = LatencyCache()


def measure(problem: ProblemShape, pass_name: str) -> tuple[LatencyCurve, bool]:
    """Time one pass over random data, dense and every variant, interleaved; the best of each.

    Returns:
        The curve, and whether the machine was steady enough to believe it tomorrow.
    """
    data = _RandomData(problem)
    dense, best, steady = data.dense(pass_name), math.inf, True
    variants: dict[str, list[float]] = {variant: [] for variant in VARIANTS[pass_name]}
    for density in DENSITIES:  # one at a time: each has tensors of its own
        works = [dense, *(data.skipping(pass_name, each, density) for each in variants)]
        (fastest, *seconds), agree = minimum_seconds(works)
        best, steady = min(best, fastest), steady and all(agree)
        for times, time in zip(variants.values(), seconds, strict=True):
            times.append(time)
    curve = LatencyCurve(best, {variant: tuple(times) for variant, times in variants.items()})
    return curve, steady


class _RandomData:
    """Random tensors of a problem's shape, and the passes over them."""

    def __init__(self, problem: ProblemShape) -> None:
        self._op, self._threads = problem.op, problem.threads
        self._rng = np.random.default_rng(0)
        linear = isinstance(problem.op, Linear)
        size, kernel = ((), ()) if linear else (problem.size, problem.kernel)
        self._x = self._random((problem.images, *size, problem.channels))
        self._weight = self._random((problem.filters, *kernel, problem.channels))
        with torch.no_grad():
            y = problem.op.dense_forward(self._x, self._weight, None)
        shape = y.shape if linear else (y.shape[0], *y.shape[2:], y.shape[1])
        self._dy = self._random(tuple(shape))

    def _random(self, shape: tuple[int, ...]) -> Tensor:
        values = self._rng.random(shape, np.float32)
        values += np.float32(0.5)
        return self._op.tensor(values)

    def _thinned(self, tensor: Tensor, density: float) -> Tensor:
        rows = self._op.rows(tensor)
        kept = self._rng.random(rows.shape, np.float32) < density
        return self._op.tensor(rows * kept)

    def dense(self, pass_name: str) -> Callable[[], object]:
        x, weight, dy = self._x, self._weight, self._dy
        if pass_name == "forward":
            return torch.no_grad()(partial(self._op.dense_forward, x, weight, None))
        needed = (pass_name == "backward_input", pass_name == "backward_weight", False)
        return torch.no_grad()(partial(self._op.dense_backward, dy, x, weight, needed))

    def skipping(self, pass_name: str, variant: str, density: float) -> Callable[[], object]:
        op, x, weight, dy = self._op, self._x, self._weight, self._dy
        if variant == "gradient":
            dy = self._thinned(dy, density)
        else:
            x = self._thinned(x, density)

        def masked(tensor: Tensor) -> MaskedTensor:
            return MaskedTensor(op, tensor, None, self._threads)  # scanned in each round

        works: dict[str, Callable[[], object]] = {
            "forward": lambda: op.forward(masked(x), weight, None),
            "backward_input": lambda: op.backward_input(variant, masked(dy), masked(x), weight),
            "backward_weight": lambda: op.backward_weight(variant, masked(dy), masked(x), weight),
        }
        return works[pass_name]
