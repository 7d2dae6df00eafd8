"""Which variant each pass of a layer runs: the cheapest at the density it sees."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from espalier.nn.custom_ops import HasHandle
from espalier.nn.zeroskip.latency import DENSE, VARIANTS, LatencyCurve
from espalier.nn.zeroskip.measure import LATENCIES, LatencyCache
from espalier.nn.zeroskip.ops import LayerOp
from espalier.nn.zeroskip.problem import ProblemShape

MEASURED, ZEROSKIP = "measured", "zeroskip"
INFERENCE, TRAINING, BACKWARD = "inference", "training", "backward"
RULES = MEASURED, ZEROSKIP, DENSE
# Calls from one sample of the densities to the next: they drift over hundreds of steps, and a
# sample takes some microseconds. An odd number: a layer that is called twice a step is seen in both
# roles.
SAMPLE_EVERY = 17
# A pass leaves PyTorch's operator, or one variant for another, only for a gain of at least 5 %, and
# goes back as soon as PyTorch's is the faster: densities that waver change nothing.
MARGIN = 0.05
# Layers of trained ReLU networks are rarely sparser.
LOWEST_DENSITY = 0.1
_MOST_SHAPES = 256


def cheapest(curve: LatencyCurve, densities: Mapping[str, float], current: str = DENSE) -> str:
    """The variant to run.

    Arguments:
        densities: by variant, of those that are possible now; dense always is.
        current: the variant in force, which a rival must beat by a margin.

    >>> curve = LatencyCurve(1.0, {"input": (0.1, 0.2, 0.5, 0.96)})
    >>> cheapest(curve, {"input": 0.3}), cheapest(curve, {"input": 0.6})
    ('input', 'dense')
    >>> cheapest(curve, {"input": 0.6}, current="input")
    'input'
    """
    seconds = {name: curve.seconds(name, density) for name, density in densities.items()}
    if current not in seconds or seconds[current] > curve.dense:
        current = DENSE
    seconds[DENSE] = curve.dense
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < (1.0 - MARGIN) * seconds[current] else current


def could_gain(curve: LatencyCurve, variants: Collection[str]) -> bool:
    """Whether one of these variants would be chosen at the lowest density to be expected."""
    expected = dict.fromkeys(curve.variants.keys() & variants, LOWEST_DENSITY)
    return cheapest(curve, expected) != DENSE


class PassTuner:
    """The variant that one pass of a layer runs at one shape.

    Attributes:
        variant: what runs, ``"dense"`` or one of ``VARIANTS[pass_name]``.
        densities: last seen, by variant.
    """

    def __init__(
        self, pass_name: str, problem: ProblemShape, latencies: LatencyCache, rule: str
    ) -> None:
        self.pass_name = pass_name
        self.variant = DENSE
        self.densities: dict[str, float] = {}
        self._problem = problem
        self._latencies = latencies
        self._rule = rule

    @property
    def curve(self) -> LatencyCurve:
        """The measured seconds of this pass; measured now, if never before."""
        return self._latencies.curve(self._problem, self.pass_name)

    def choose(self, densities: Mapping[str, float]) -> None:
        """Choose the variant, by the density seen of each that is possible now."""
        self.densities.update(densities)
        self.variant = self.best(densities)

    def best(self, densities: Mapping[str, float]) -> str:
        """What `choose` would choose."""
        if self._rule == ZEROSKIP:
            return min(densities, key=densities.__getitem__)
        return DENSE if self._rule == DENSE else cheapest(self.curve, densities, self.variant)

    @property
    def gain(self) -> float | None:
        """Dense seconds over those of what runs, measured, at the density last seen.

        None where passes are forced: nothing was measured.
        """
        if self._rule != MEASURED:
            return None
        variant = self.variant
        if variant == DENSE:
            return 1.0
        return self.curve.dense / self.curve.seconds(variant, self.densities[variant])


class ShapeEntry:
    """The tuners of a layer's passes at one shape of input."""

    __slots__ = ("_counts", "backward_input", "backward_weight", "forward", "problem")

    def __init__(self, problem: ProblemShape, latencies: LatencyCache, rule: str) -> None:
        self.problem = problem
        self.forward, self.backward_input, self.backward_weight = (
            PassTuner(pass_name, problem, latencies, rule) for pass_name in VARIANTS
        )
        self._counts = {INFERENCE: 0, TRAINING: 0, BACKWARD: 0}

    @property
    def calls(self) -> int:
        """Forward calls so far."""
        return self._counts[INFERENCE] + self._counts[TRAINING]

    @property
    def tuners(self) -> tuple[PassTuner, PassTuner, PassTuner]:
        """Those of the three passes, in the order of VARIANTS."""
        return self.forward, self.backward_input, self.backward_weight

    def should_sample_density(self, kind: str) -> bool:
        """Count a call; whether it is one that samples the densities and may choose anew.

        Arguments:
            kind: a forward call for INFERENCE, one for TRAINING (its backward pass then samples
                too), or the BACKWARD of a compiled program, which cannot know its forward call.
        """
        self._counts[kind] += 1
        return self._counts[kind] % SAMPLE_EVERY == 1

    def is_dense(self, requires_grad: bool) -> bool:
        """Whether everything that this call will run is PyTorch's."""
        return self.forward.variant == DENSE and (
            not requires_grad
            or self.backward_input.variant == self.backward_weight.variant == DENSE
        )


class LayerTuner(HasHandle):
    """The tuners of a layer at all shapes it has met; a copied layer starts with none.

    Attributes:
        rule: ``"measured"``, or ``"zeroskip"`` or ``"dense"`` to force every pass.
    """

    def __init__(self, rule: str = MEASURED, latencies: LatencyCache = LATENCIES) -> None:
        super().__init__()
        self.rule = rule
        self._latencies = latencies
        self._entries: dict[ProblemShape, ShapeEntry] = {}
        self._by_shape: dict[tuple[Any, ...], ShapeEntry] = {}

    @property
    def entries(self) -> list[ShapeEntry]:
        """One for each shape met, in the order they came."""
        return list(self._entries.values())

    def entry(self, op: LayerOp, x: torch.Size, weight: torch.Size, threads: int) -> ShapeEntry:
        """The tuners for an input of this shape."""
        shape = op, x, threads
        entry = self._by_shape.get(shape)
        if entry is None:
            problem = ProblemShape.of(op, x, weight, threads)
            entry = self._entries.setdefault(
                problem, ShapeEntry(problem, self._latencies, self.rule)
            )
            if len(self._by_shape) >= _MOST_SHAPES:
                self._by_shape.clear()
            self._by_shape[shape] = entry
        return entry

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerTuner, (self.rule,)
