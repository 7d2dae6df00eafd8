"""What is known of the time of one layer: a curve for each way to run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from espalier.errors import InputError
from espalier.fssl.groups.groups import LayerUse
from espalier.fssl.latency.curves import Roofline, Work
from espalier.fssl.latency.grid import CSR, DENSE
from espalier.fssl.latency.measure import GATHER, Task
from espalier.fssl.latency.regression import Fit, fit

# Without measuring: multiply-adds at this speed, and those of single weights so much slower (Park
# et al., ICLR 2017, for AVX2).
_NOMINAL_FLOPS = 2e10
_CSR_SLOWDOWN = 3.0
# A weight of CSR takes twice the bytes of a dense one, its column with it; with more weights than
# this a layer runs dense, even where its CSR happened to be measured faster.
MOST_CSR_DENSITY = 0.7


@dataclass(frozen=True)
class LayerTime:
    """What is known of one layer.

    Attributes:
        layer: its shape.
        fits: by backend.
        gather: kept inputs, and the seconds to select them; empty where inputs stay.
    """

    layer: LayerUse
    fits: dict[str, Fit]
    gather: tuple[tuple[int, float], ...] = ()

    def seconds(
        self,
        inputs: float,
        outputs: float,
        density: float | None,
        backend: str,
        smooth: bool = False,
    ) -> float:
        """Seconds of all calls by one backend, with or without the steps of its kernel."""
        curve = self.fits[backend].curve
        weights = self.layer.weights(1, 1) * inputs * outputs
        nonzeros = None if density is None or backend == DENSE else density * weights
        one = (curve.smooth if smooth else curve).seconds(inputs, outputs, nonzeros)
        return self.layer.calls * one

    def cheapest(
        self, inputs: float, outputs: float, density: float | None, smooth: bool = False
    ) -> tuple[str, float]:
        """The cheapest backend, and its seconds; dense where few weights are known to be zero."""
        sparse = density is not None and density <= MOST_CSR_DENSITY
        ways = self.fits if sparse else [DENSE]
        found = {way: self.seconds(inputs, outputs, density, way, smooth) for way in ways}
        best = min(found, key=found.__getitem__)
        return best, found[best]

    def gather_seconds(self, kept: float) -> float:
        """Seconds to select the inputs that are left."""
        widths, seconds = zip(*self.gather, strict=True)
        return float(np.interp(kept, widths, seconds))

    def widths(self, inputs: int, outputs: int) -> tuple[int, int]:
        """The widths themselves, at least 1; InputError if they are more than the layer has."""
        for name, width, full in (
            ("inputs", inputs, self.layer.in_width),
            ("outputs", outputs, self.layer.out_width),
        ):
            if not 0 <= width <= full:
                raise InputError(
                    f"{name} is {width}, wanted 0 to {full} for layer {self.layer.name!r}"
                )
        return max(inputs, 1), max(outputs, 1)

    def density(self, inputs: float, outputs: float, nonzeros: int | None) -> float | None:
        """The part of the compact weight that is not zero; None for None."""
        if nonzeros is None:
            return None
        weights = self.layer.weights(1, 1) * inputs * outputs
        if not 0 <= nonzeros <= weights:
            raise InputError(
                f"layer {self.layer.name!r} has {nonzeros} non-zeros, wanted 0 to {weights:.0f}: "
                f"those of its compact weight with {inputs:.0f} inputs and {outputs:.0f} outputs"
            )
        return nonzeros / weights


def measured_layers(
    tasks: Iterable[Task], seconds: Mapping[str, list[float]], batch: int
) -> tuple[LayerTime, ...]:
    """Curves for every layer from what was measured, by key; equal layers share theirs."""
    fits: dict[str, Fit] = {}
    found: dict[LayerUse, LayerTime] = {}
    for task in tasks:
        known = found.setdefault(task.layer, LayerTime(task.layer, {}))
        if task.backend == GATHER:
            widths = [point.inputs for point in task.points.grid]
            gather = tuple(zip(widths, seconds[task.key], strict=True))
            found[task.layer] = LayerTime(task.layer, known.fits, gather)
            continue
        if task.key not in fits:
            work = Work.of(task.layer, batch, task.backend)
            fits[task.key] = fit(task.points, seconds[task.key], work, task.backend)
        known.fits[task.backend] = fits[task.key]
    return tuple(found.values())


def nominal_layers(layers: Iterable[LayerUse], batch: int) -> tuple[LayerTime, ...]:
    """Multiply-adds of every layer at a nominal speed, a few times slower in CSR."""
    per_flop = {DENSE: 1.0 / _NOMINAL_FLOPS, CSR: _CSR_SLOWDOWN / _NOMINAL_FLOPS}
    return tuple(
        LayerTime(
            layer,
            {
                way: Fit(Roofline(0.0, each, 0.0, Work.of(layer, batch, way)))
                for way, each in per_flop.items()
                if way == DENSE or layer.prunable_elements
            },
        )
        for layer in layers
    )
