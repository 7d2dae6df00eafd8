"""Fit curves to measured seconds and keep the one that predicts best what it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from espalier.fssl.latency.curves import EXACT, RULES, Curve, Roofline, Steps, Table, Work
from espalier.fssl.latency.probes import DENSE, STEP, Point, Points

Seconds = NDArray[np.float64]
# No coefficient is smaller than this part of the mean time, so that its logarithm exists.
_NOTHING = 1e-6


@dataclass(frozen=True)
class Fit:
    """A curve, and how far it was off at points that neither made nor chose it.

    Attributes:
        curve: seconds by widths and non-zeros.
        errors: relative, at the held-out points.
    """

    curve: Curve
    errors: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The median held-out error."""
        return float(np.median(self.errors)) if self.errors else 0.0

    @property
    def worst(self) -> float:
        """The largest held-out error."""
        return max(self.errors, default=0.0)


def fit(points: Points, seconds: Sequence[float], work: Work, backend: str) -> Fit:
    """The best of a roofline and a table, each with and without steps of the vector width.

    Arguments:
        points: where the layer was timed.
        seconds: as long as ``points.all``, in its order.
        work: what the layer does.
        backend: ``"dense"`` or ``"csr"``; only a dense layer is computed in whole vectors of units.
    """
    measured = np.asarray(seconds, np.float64)
    grid, choosing, held_out = np.split(
        measured, np.cumsum([len(points.grid), len(points.choosing)])
    )
    steps = list(_steps()) if backend == DENSE else [(EXACT, EXACT)]
    rooflines: list[Curve] = [_additive(points.grid, grid, work, *each) for each in steps]
    curves: list[Curve] = [Table.of(points.grid, grid, work, *each) for each in steps]
    curves.append(_refined(_best(rooflines, points.choosing, choosing), points.grid, grid))
    candidates = [_with_rest(curve, points.choosing, choosing) for curve in curves]
    curve = _best(candidates, points.choosing, choosing)
    return Fit(curve, tuple(_errors(curve, points.held_out, held_out).tolist()))


def _steps() -> Iterator[tuple[Steps, Steps]]:
    quanta = STEP, STEP // 2
    kinds = [EXACT, *(Steps(quantum, rule) for quantum in quanta for rule in RULES[1:])]
    yield from product(kinds, kinds)


def _best(curves: Sequence[Curve], points: list[Point], seconds: Seconds) -> Curve:
    return min(curves, key=lambda curve: float(_errors(curve, points, seconds).mean()))


def _with_rest(curve: Curve, points: list[Point], seconds: Seconds) -> Curve:
    """The factor of unfilled steps, of which a grid has few: the median over other points."""
    twice = replace(curve, rest=2.0)
    filled = np.array([curve.seconds(*point) for point in points])
    unfilled = filled != np.array([twice.seconds(*point) for point in points])
    if not unfilled.any():
        return curve
    # Less than a full step is never faster than the full one.
    return replace(curve, rest=max(1.0, float(np.median((seconds / filled)[unfilled]))))


def _errors(curve: Curve, points: list[Point], seconds: Seconds) -> Seconds:
    predicted = np.array([curve.seconds(*point) for point in points])
    errors: Seconds = np.abs(predicted / seconds - 1.0)
    return errors


def _additive(
    points: list[Point], seconds: Seconds, work: Work, inputs: Steps, outputs: Steps
) -> Roofline:
    """Least squares of relative errors with no negative coefficient."""
    amounts = np.array([work.amounts(inputs(p.inputs), outputs(p.outputs), p[2]) for p in points])
    columns = np.column_stack([np.ones(len(points)), amounts]) / seconds[:, None]
    scale = columns.max(axis=0)
    coefficients, _ = nnls(columns / scale, np.ones(len(points)))
    fixed, per_flop, per_byte = (coefficients / scale).tolist()
    return Roofline(fixed, per_flop, per_byte, work, inputs, outputs)


def _refined(start: Curve, points: list[Point], seconds: Seconds) -> Roofline:
    """The same coefficients under the soft maximum of computing and memory."""
    assert isinstance(start, Roofline)
    work, inputs, outputs = start.work, start.input_steps, start.output_steps
    amounts = np.array([work.amounts(inputs(p.inputs), outputs(p.outputs), p[2]) for p in points])
    means = np.array([1.0, *amounts.mean(axis=0)])
    least = _NOTHING * seconds.mean() / means
    first = np.maximum([start.fixed, start.per_flop, start.per_byte], least)

    def off(logarithms: Seconds) -> Seconds:
        fixed, per_flop, per_byte = np.exp(logarithms)
        bound = Roofline.soft_maximum(per_flop * amounts[:, 0], per_byte * amounts[:, 1])
        return np.asarray(np.log((fixed + bound) / seconds))

    found = least_squares(off, np.log(first), loss="soft_l1", f_scale=0.1, max_nfev=100)
    fixed, per_flop, per_byte = np.exp(found.x).tolist()
    return Roofline(fixed, per_flop, per_byte, work, inputs, outputs)
