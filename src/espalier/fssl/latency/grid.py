"""Where a layer's time is measured: a grid for the curves, and points that no curve may see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from espalier.fssl.groups.groups import LayerUse

DENSE, CSR = "dense", "csr"
BACKENDS = DENSE, CSR
DENSITIES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
# Vector registers hold 8 or 16 numbers, so time rises in steps behind the multiples of 16.
STEP = 16
_FIRST = (1, 2, 4, 8, 12, 15)
# Ratio of one width to the next, finest first; the first whose grid is bearable is taken.
_RATIOS = (1.4, 2.0, 4.0)
_MOST_MULTIPLY_ADDS = 1e10
_ASIDE = 12
# Held-out widths lie between the full one and this part of it.
_NARROWEST = 32
# Steps of a sequence that fills the cube evenly: powers of the root of x^4 = x + 1.
_EVEN = (0.8191725134, 0.6710436067, 0.5497004779)


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
        grid = next((each for each in grids if _is_bearable(layer, each, batch)), None)
        grid = _dense_grid(layer, _RATIOS[-1]) if grid is None else grid
        aside = [Point(inputs, outputs) for inputs, outputs, _ in _even(layer)]
    else:
        widths = product(_quarters(layer.inputs, layer.in_width), _quarters(*_made(layer)))
        grid = [_sparse(layer, *each, share) for each in widths for share in DENSITIES]
        aside = [_sparse(layer, *each) for each in _even(layer)]
    return Points(grid, aside[::2], aside[1::2])


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


def _is_bearable(layer: LayerUse, grid: list[Point], batch: int) -> bool:
    multiply_adds = sum(layer.multiply_adds(point.inputs, point.outputs) for point in grid)
    return batch * multiply_adds <= _MOST_MULTIPLY_ADDS


def _even(layer: LayerUse) -> Iterator[tuple[int, int, float]]:
    """Widths and densities spread evenly over their logarithms."""
    for count in range(1, 2 * _ASIDE + 1):
        first, second, third = ((0.5 + count * each) % 1.0 for each in _EVEN)
        yield (
            layer.in_width if layer.inputs is None else _between(first, layer.in_width),
            layer.out_width if layer.outputs is None else _between(second, layer.out_width),
            DENSITIES[0] * (DENSITIES[-1] / DENSITIES[0]) ** third,
        )


def _between(part: float, full: int) -> int:
    least = max(1, full // _NARROWEST)
    return round(least * math.pow(full / least, part))


def _sparse(layer: LayerUse, inputs: int, outputs: int, density: float) -> Point:
    return Point(inputs, outputs, max(1, round(density * layer.weights(inputs, outputs))))
