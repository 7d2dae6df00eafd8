"""What each pass of a layer costs, dense and zero-skipping, measured on this machine.

A layer asks for the curves of its shape when it first sees it. They are measured once, in some
milliseconds a variant, and kept in ``$XDG_CACHE_HOME/espalier`` for each processor, instruction set
and version. Choices are made from the curves alone and never from live timing, so two runs with
the same cache give the same bits.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.kernels import instruction_set
from espalier.kernels.processor import processor_name
from espalier.nn.masks import Mask
from espalier.nn.products import Convolution, Linear, Pair, Product

FORMAT = 1
DENSITIES = (0.03, 0.1, 0.3, 0.6)
DENSE = "dense"
# The ways to skip in each pass, each named after whose density it depends on: zeros of the input,
# zeros of the gradient, or entries of the input's gradient that are not needed.
VARIANTS = {
    "forward": ("input",),
    "backward_input": ("gradient", "needed"),
    "backward_weight": ("input", "gradient"),
}
_ROUNDS = 3
_MOST_MULTIPLY_ADDS = 2e8


@dataclass(frozen=True)
class Curve:
    """Seconds of one pass: dense, and of each variant at each of DENSITIES."""

    dense: float
    variants: dict[str, tuple[float, ...]]

    def seconds(self, variant: str, density: float) -> float:
        """Seconds of a variant, linear between the measured densities and beyond the last.

        >>> Curve(1.0, {"input": (0.1, 0.2, 0.4, 0.7)}).seconds("input", 0.2)
        0.3...
        """
        if variant == DENSE:
            return self.dense
        times = self.variants[variant]
        if density > DENSITIES[-1]:
            slope = (times[-1] - times[-2]) / (DENSITIES[-1] - DENSITIES[-2])
            return times[-1] + max(slope, 0.0) * (density - DENSITIES[-1])
        return float(np.interp(density, DENSITIES, times))

    @classmethod
    def from_json(cls, entry: Any, names: tuple[str, ...]) -> Curve:
        """Read back what was cached; anything else raises ValueError, KeyError or TypeError."""
        curve = cls(float(entry["dense"]), {name: tuple(entry["variants"][name]) for name in names})
        seconds = [curve.dense, *(each for times in curve.variants.values() for each in times)]
        if len(seconds) != 1 + len(names) * len(DENSITIES) or not all(
            isinstance(each, float) and 0.0 < each < math.inf for each in seconds
        ):
            raise ValueError("no table of seconds")
        return curve


@dataclass(frozen=True)
class Case:
    """The shape that is measured in place of a layer's own: near it, and not too large."""

    product: Product
    images: int
    size: Pair
    channels: int
    filters: int
    kernel: Pair
    threads: int

    @classmethod
    def of(cls, product: Product, x: torch.Size, weight: torch.Size, threads: int) -> Case:
        """The case of a layer with such an input and weight.

        The number of images is rounded to a power of two, the image's sides to three significant
        bits, so that the last batch of an epoch or images of many sizes measure nothing anew.
        """
        filters, channels = weight[:2]
        if isinstance(product, Linear):
            return cls(product, _round(x[0], 1), (1, 1), channels, filters, (1, 1), threads)
        assert isinstance(product, Convolution)
        kernel = weight[2], weight[3]
        least = [k - 2 * p for k, p in zip(kernel, product.padding, strict=True)]
        height, width = (max(_round(x[2 + axis], 3), least[axis]) for axis in (0, 1))
        case = cls(product, _round(x[0], 1), (height, width), channels, filters, kernel, threads)
        return case._shrunk()

    def _shrunk(self) -> Case:
        """Fewer images, then fewer rows of an image, until a pass takes some milliseconds."""
        case = self
        while case.images > 1 and case.multiply_adds > _MOST_MULTIPLY_ADDS:
            case = replace(case, images=case.images // 2)
        least = max(8, 4 * self.kernel[0])
        while case.size[0] >= 2 * least and case.multiply_adds > _MOST_MULTIPLY_ADDS:
            case = replace(case, size=(case.size[0] // 2, case.size[1]))
        return case

    @property
    def multiply_adds(self) -> float:
        """Those of one dense pass, up to the padding."""
        stride = self.product.stride if isinstance(self.product, Convolution) else (1, 1)
        places = self.images * math.prod(self.size) / math.prod(stride)
        return places * math.prod(self.kernel) * self.channels * self.filters

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the input, as PyTorch has it."""
        size = self.size if isinstance(self.product, Convolution) else ()
        return self.images, self.channels, *size

    def key(self, pass_name: str) -> str:
        """The name of a curve in the cache."""
        product = type(self.product).__name__.lower()
        numbers = [self.images, *self.size, self.channels, self.filters, *self.kernel]
        options = [each for pair in self.product.options.values() for each in pair]
        return f"{product} {pass_name} {numbers} {options} threads={self.threads}"


class Costs:
    """Curves by case and pass: from memory, from the cache file, or measured now."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._curves: dict[tuple[Case, str], Curve] = {}
        self._entries: dict[str, Any] | None = None

    def curve(self, case: Case, pass_name: str) -> Curve:
        """The curve of one pass."""
        try:
            return self._curves[case, pass_name]
        except KeyError:
            pass
        if self._entries is None:
            self._entries = _read(self._path())
        names = VARIANTS[pass_name]
        try:
            curve = Curve.from_json(self._entries[case.key(pass_name)], names)
        except (ValueError, KeyError, TypeError):
            curve = measure(case, pass_name)
            self._remember(case.key(pass_name), curve)
        self._curves[case, pass_name] = curve
        return curve

    def _remember(self, key: str, curve: Curve) -> None:
        """Add a curve to the file, beside those that other processes have added meanwhile."""
        path = self._path()
        self._entries = {**_read(path), **(self._entries or {}), key: vars(curve)}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self._entries, indent=0))
            draft.replace(path)

    def _path(self) -> Path:
        cache = self._folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        versions = f"{version('espalier')}-torch-{torch.__version__}"
        name = f"layers-{FORMAT}-{versions}-{processor_name()}-{instruction_set()}"
        plain = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        return cache / "espalier" / f"{plain}.json"


def measure(case: Case, pass_name: str) -> Curve:
    """Time one pass over random data, dense and every variant, in turns; the best of each."""
    sample = _Sample(case)
    works: dict[tuple[str, float], Callable[[], object]] = {(DENSE, 1.0): sample.dense(pass_name)}
    for variant in VARIANTS[pass_name]:
        for density in DENSITIES:
            works[variant, density] = sample.skipping(pass_name, variant, density)
    best = dict.fromkeys(works, math.inf)
    for turn in range(_ROUNDS + 1):
        for name, work in works.items():
            start = perf_counter()
            work()
            if turn:  # the first is a warm-up
                best[name] = min(best[name], perf_counter() - start)
    variants = {
        variant: tuple(best[variant, density] for density in DENSITIES)
        for variant in VARIANTS[pass_name]
    }
    return Curve(best[DENSE, 1.0], variants)


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
            return product.backward_input(dy, weight, x.shape, **found, threads=threads)

        def backward_weight() -> object:
            found = {"mask": scan(x)} if variant == "input" else {"dy_mask": scan(dy)}
            shape = weight.shape
            return product.backward_weight(x, dy, shape, **found, skip=variant, threads=threads)

        works = {
            "forward": forward,
            "backward_input": backward_input,
            "backward_weight": backward_weight,
        }
        return works[pass_name]


def _round(number: int, bits: int) -> int:
    """Down to so many significant bits."""
    drop = max(number.bit_length() - bits, 0)
    return number >> drop << drop


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        entries = json.loads(path.read_text())
        if isinstance(entries, dict):
            return entries
    return {}


COSTS = Costs()
