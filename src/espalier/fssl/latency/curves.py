"""Seconds of one layer by its widths and non-zeros: a roofline, or a measured table."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from espalier.fssl.groups.groups import LayerUse
from espalier.fssl.latency.probes import DENSE, Point

RULES = "each", "whole", "above", "halves"
# Seconds of a piece of a vector over those of the whole one, where kernels work in halves.
_PIECE = 0.8
_SHARPNESS = 8


@dataclass(frozen=True)
class Steps:
    """How much width a kernel computes for so many units: it works in vectors of a quantum.

    Attributes:
        quantum: units in a vector.
        rule: what happens to a rest. ``"each"``: every unit counts by itself. ``"whole"``: it takes
            a whole vector. ``"above"``: likewise, but fewer units than one vector count singly.
            ``"halves"``: it is computed in pieces of halves, quarters and so on of a vector, each
            nearly as long as a whole one, so that 63 units take longer than 64.

    >>> [Steps(16, rule)(20) for rule in RULES]
    [20, 32, 32, 28.8]
    >>> [Steps(16, rule)(5) for rule in RULES]
    [5, 16, 5, 5]
    """

    quantum: int = 1
    rule: str = "each"

    def __call__(self, width: float) -> float:
        if self.rule == "each" or (width < self.quantum and self.rule != "whole"):
            return width
        vectors, rest = divmod(math.ceil(width), self.quantum)
        passes = _PIECE * rest.bit_count() if self.rule == "halves" else rest > 0
        return (vectors + passes) * self.quantum


EXACT = Steps()


@dataclass(frozen=True)
class Work:
    """What a layer computes and moves for one batch.

    Attributes:
        flops: floating-point operations of each weight.
        input_bytes, output_bytes: of all activations of one unit.
        weights: of each pair of an input and an output unit, when dense.
        weight_bytes: of each weight, with its index if it needs one.
        row_bytes: of each output unit, for its offset.
    """

    flops: float
    input_bytes: float
    output_bytes: float
    weights: int
    weight_bytes: float
    row_bytes: float

    @classmethod
    def of(cls, layer: LayerUse, batch: int, backend: str) -> Work:
        """Float32 values; CSR adds an int32 column to each, and an int64 offset to each row."""
        sparse = backend != DENSE
        return cls(
            flops=2.0 * batch * layer.positions,
            input_bytes=4.0 * batch * layer.size[0] * layer.size[1] * layer.repeat,
            output_bytes=4.0 * batch * layer.positions,
            weights=layer.weights(1, 1),
            weight_bytes=8.0 if sparse else 4.0,
            row_bytes=8.0 if sparse else 0.0,
        )

    def amounts(self, inputs: float, outputs: float, nonzeros: float | None) -> tuple[float, float]:
        """Floating-point operations and bytes."""
        nonzeros = self.weights * inputs * outputs if nonzeros is None else nonzeros
        moved = (
            self.input_bytes * inputs
            + (self.output_bytes + self.row_bytes) * outputs
            + self.weight_bytes * nonzeros
        )
        return self.flops * nonzeros, moved


@dataclass(frozen=True)
class Roofline:
    """A constant, plus the slower of computing and memory.

    Attributes:
        fixed: seconds of a call.
        per_flop, per_byte: seconds; the inverse of what is called F and Bw in the literature.
        rest: factor for widths that do not fill their last step.

    Source: the roofline of Williams et al., CACM 2009, with a soft maximum and a constant.
    """

    fixed: float
    per_flop: float
    per_byte: float
    work: Work
    input_steps: Steps = EXACT
    output_steps: Steps = EXACT
    rest: float = 1.0

    def seconds(self, inputs: float, outputs: float, nonzeros: float | None = None) -> float:
        """Seconds of one batch."""
        reads, makes = self.input_steps(inputs), self.output_steps(outputs)
        flops, moved = self.work.amounts(reads, makes, nonzeros)
        bound = self.soft_maximum(self.per_flop * flops, self.per_byte * moved)
        return (self.fixed + float(bound)) * _factor(self, inputs, outputs)

    @staticmethod
    def soft_maximum(first: Any, second: Any) -> Any:
        """Nearly the larger of two, with no corner where they meet."""
        larger, smaller = np.maximum(first, second), np.minimum(first, second)
        share = smaller / np.maximum(larger, np.finfo(np.float64).tiny)
        return larger * (1.0 + share**_SHARPNESS) ** (1.0 / _SHARPNESS)

    @property
    def smooth(self) -> Roofline:
        """Without steps: what a unit costs on average over a step."""
        return replace(self, input_steps=EXACT, output_steps=EXACT)


@dataclass(frozen=True)
class Table:
    """Measured seconds, linear in each width and in the density between the measured.

    The time of a product of matrices is bilinear in its widths, so little is lost between them.

    Attributes:
        inputs, outputs: rising widths.
        densities: rising; one alone for a dense layer.
        values: seconds ``[inputs][outputs][densities]``.
        weights: of each pair of units, when dense.
        rest: factor for widths that do not fill their last step.
    """

    inputs: tuple[float, ...]
    outputs: tuple[float, ...]
    densities: tuple[float, ...]
    values: NDArray[np.float64]
    weights: int
    input_steps: Steps = EXACT
    output_steps: Steps = EXACT
    rest: float = 1.0

    @classmethod
    def of(
        cls,
        points: Sequence[Point],
        seconds: NDArray[np.float64],
        work: Work,
        input_steps: Steps = EXACT,
        output_steps: Steps = EXACT,
    ) -> Table:
        """A table of a whole grid; of widths on the same step the largest stands for all."""
        inputs = dict(sorted((input_steps(point.inputs), point.inputs) for point in points))
        outputs = dict(sorted((output_steps(point.outputs), point.outputs) for point in points))
        found: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for point, each in zip(points, seconds.tolist(), strict=True):
            full = work.weights * point.inputs * point.outputs
            density = 1.0 if point.nonzeros is None else point.nonzeros / full
            found.setdefault(point[:2], []).append((density, each))
        cells = [[found[i, o] for o in outputs.values()] for i in inputs.values()]
        densities = tuple(density for density, _ in cells[-1][-1])  # few weights cannot be so few
        values = np.array([[[each for _, each in cell] for cell in row] for row in cells])
        axes = tuple(map(float, inputs)), tuple(map(float, outputs)), densities
        return cls(*axes, values, work.weights, input_steps, output_steps)

    def seconds(self, inputs: float, outputs: float, nonzeros: float | None = None) -> float:
        """Seconds of one batch."""
        full = self.weights * inputs * outputs
        density = 1.0 if nonzeros is None else nonzeros / full
        values = _along(self.inputs, self.input_steps(inputs), self.values)
        values = _along(self.outputs, self.output_steps(outputs), values)
        return float(_along(self.densities, density, values)) * _factor(self, inputs, outputs)

    @property
    def smooth(self) -> Table:
        """Without steps, and never falling: what a unit costs on average over a step."""
        return replace(self, values=_rising(self.values), input_steps=EXACT, output_steps=EXACT)


Curve: TypeAlias = Roofline | Table


def _factor(curve: Curve, inputs: float, outputs: float) -> float:
    filled = curve.input_steps(inputs) == inputs and curve.output_steps(outputs) == outputs
    return 1.0 if filled else curve.rest


def _along(axis: tuple[float, ...], place: float, values: NDArray[np.float64]) -> Any:
    """Interpolate along the first axis; below it constant, above it straight on."""
    if len(axis) == 1 or place <= axis[0]:
        return values[0]
    after = min(bisect_right(axis, place), len(axis) - 1)
    part = (place - axis[after - 1]) / (axis[after] - axis[after - 1])
    return values[after - 1] + part * (values[after] - values[after - 1])


def _rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest table, in the largest relative change, that falls along no axis."""
    upper, lower = values, values
    for axis in range(values.ndim):
        upper = np.maximum.accumulate(upper, axis)
        lower = np.flip(np.minimum.accumulate(np.flip(lower, axis), axis), axis)
    return np.asarray(np.sqrt(upper * lower))
