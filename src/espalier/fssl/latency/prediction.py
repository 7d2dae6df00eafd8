"""Seconds of a layer and of a network, predicted from curves by widths and non-zeros."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from espalier.errors import InputError
from espalier.fssl.groups.groups import SPARSE, LayerUse
from espalier.fssl.latency.curves import Roofline, Work
from espalier.fssl.latency.measure import GATHER, Task
from espalier.fssl.latency.overhead import Overhead
from espalier.fssl.latency.probes import CSR, DENSE
from espalier.fssl.latency.regression import Fit, fit

# Without measuring: multiply-adds at this speed, and those of single weights so much slower (Park
# et al., ICLR 2017, for AVX2).
_NOMINAL_FLOPS = 2e10
_CSR_SLOWDOWN = 3.0
# A weight of CSR takes twice the bytes of a dense one, its column with it; with more weights than
# this a layer runs dense, even where its CSR happened to be measured faster.
MOST_CSR_DENSITY = 0.7
# A slope is taken over this part of the full width.
_WINDOW = 0.05
# Widths and non-zeros that save less than this part of the time are not worth a term.
_LAUNCH_BOUND = 0.2
_NO_TIME = 1e-12
_CONSISTENT = 1.5


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
        backends = self.fits if sparse else [DENSE]
        found = {
            backend: self.seconds(inputs, outputs, density, backend, smooth) for backend in backends
        }
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


@dataclass(frozen=True)
class NetworkTime:
    """What is known of a network: every layer at its cheapest, and the overhead between them.

    Attributes:
        sizes: full width of each family of units.
        layers: in order of execution.
        overhead: what the network does between its layers, None where that is not known.
    """

    sizes: tuple[int, ...]
    layers: tuple[LayerTime, ...]
    overhead: Overhead | None

    def seconds(self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None) -> float:
        """Seconds of the network: every layer at its cheapest, and the overhead between them.

        Arguments:
            widths: living units of each family; 0 counts as 1.
            nonzeros: of each layer's compact weight, None for a dense one.

        Raises:
            InputError: a width or a number of non-zeros is missing or out of range.
        """
        alive = self._widths(widths)
        return self._sum(alive, self._densities(alive, nonzeros), smooth=False)

    def marginals(
        self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None
    ) -> list[float]:
        """Seconds that a unit of each family saves when it goes, never negative.

        The slope over some 5 % of the width, without the steps of vector kernels: a single unit
        saves nothing in the middle of a step and a whole step at its edge. The call that selects
        inputs counts with its slope too; that it starts at all is in `seconds` alone.

        Arguments:
            widths, nonzeros: as for `seconds`; the densities of the layers stay as they are.
        """
        alive = self._widths(widths)
        densities = self._densities(alive, nonzeros)
        return [self._slope(alive, densities, family) for family in range(len(alive))]

    @cached_property
    def launch_bound(self) -> bool:
        """Whether constants dominate at full width, so that no width is worth a term of time."""
        saved: float = sum(map(operator.mul, self.marginals(self.sizes), self.sizes))
        return saved < _LAUNCH_BOUND * self.seconds(self.sizes)

    def is_consistent(self, nonzeros: Sequence[int | None] | None = None) -> bool:
        """Whether layers and overhead add up to the time of the whole network, by and large.

        If not, something else kept the machine busy while one or the other was measured.

        Arguments:
            nonzeros: of each layer at full width, None for a dense one.
        """
        unknown = nonzeros is None and any(
            layer_time.layer.kind == SPARSE for layer_time in self.layers
        )
        if self.overhead is None or unknown:
            return True
        ratio = self.seconds(self.sizes, nonzeros) / max(self.overhead.whole, _NO_TIME)
        return 1.0 / _CONSISTENT < ratio < _CONSISTENT

    def _sum(self, widths: list[float], densities: list[float | None], smooth: bool) -> float:
        total = self.overhead.before if self.overhead is not None else 0.0
        for index, (layer_time, density) in enumerate(zip(self.layers, densities, strict=True)):
            inputs, outputs = self._layer_widths(layer_time.layer, widths)
            total += layer_time.cheapest(inputs, outputs, density, smooth)[1]
            if self.overhead is not None:
                total += self.overhead.seconds(index, outputs / layer_time.layer.out_width)
            if layer_time.gather and (smooth or inputs < layer_time.layer.in_width):
                total += layer_time.gather_seconds(inputs)
        return total

    def _layer_widths(self, layer: LayerUse, widths: Sequence[float]) -> tuple[float, float]:
        inputs = layer.in_width if layer.inputs is None else widths[layer.inputs]
        outputs = layer.out_width if layer.outputs is None else widths[layer.outputs]
        return inputs, outputs

    def _slope(self, widths: list[float], densities: list[float | None], family: int) -> float:
        size = self.sizes[family]
        window = max(2.0, _WINDOW * size)
        high = min(float(size), widths[family] + window / 2)
        low = max(1.0, high - window)
        if high <= low:
            return 0.0
        more, fewer = ([*widths[:family], each, *widths[family + 1 :]] for each in (high, low))
        saved = self._sum(more, densities, True) - self._sum(fewer, densities, True)
        return max(saved, 0.0) / (high - low)

    def _widths(self, widths: Sequence[int]) -> list[float]:
        if len(widths) != len(self.sizes):
            raise InputError(
                f"widths has {len(widths)} numbers, wanted {len(self.sizes)}: one for each family "
                "of units"
            )
        for index, (width, size) in enumerate(zip(widths, self.sizes, strict=True)):
            if not 0 <= width <= size:
                raise InputError(f"widths[{index}] is {width}, wanted 0 to {size}")
        return [float(max(width, 1)) for width in widths]

    def _densities(
        self, widths: list[float], nonzeros: Sequence[int | None] | None
    ) -> list[float | None]:
        counts = [None] * len(self.layers) if nonzeros is None else list(nonzeros)
        if len(counts) != len(self.layers):
            raise InputError(
                f"nonzeros has {len(counts)} numbers, wanted {len(self.layers)}: one for each layer"
            )
        return [
            layer_time.density(*self._layer_widths(layer_time.layer, widths), count)
            for layer_time, count in zip(self.layers, counts, strict=True)
        ]


def measured_layers(
    tasks: Iterable[Task], seconds: Mapping[str, list[float]], batch: int
) -> tuple[LayerTime, ...]:
    """Curves for every layer from what was measured, by key; equal layers share theirs."""
    fits: dict[str, Fit] = {}
    found: dict[LayerUse, LayerTime] = {}
    for task in tasks:
        layer_time = found.setdefault(task.layer, LayerTime(task.layer, {}))
        if task.backend == GATHER:
            widths = [point.inputs for point in task.points.grid]
            gather = tuple(zip(widths, seconds[task.key], strict=True))
            found[task.layer] = LayerTime(task.layer, layer_time.fits, gather)
            continue
        if task.key not in fits:
            work = Work.of(task.layer, batch, task.backend)
            fits[task.key] = fit(task.points, seconds[task.key], work, task.backend)
        layer_time.fits[task.backend] = fits[task.key]
    return tuple(found.values())


def nominal_layers(layers: Iterable[LayerUse], batch: int) -> tuple[LayerTime, ...]:
    """Multiply-adds of every layer at a nominal speed, a few times slower in CSR."""
    per_flop = {DENSE: 1.0 / _NOMINAL_FLOPS, CSR: _CSR_SLOWDOWN / _NOMINAL_FLOPS}
    return tuple(
        LayerTime(
            layer,
            {
                backend: Fit(Roofline(0.0, seconds, 0.0, Work.of(layer, batch, backend)))
                for backend, seconds in per_flop.items()
                if backend == DENSE or layer.prunable_elements
            },
        )
        for layer in layers
    )
