"""Which variant each pass of a layer runs: the cheapest at the density it sees."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch

from espalier.nn.costs import COSTS, Costs
from espalier.nn.zeroskip.latency import DENSE, VARIANTS, Curve
from espalier.nn.zeroskip.ops import Product
from espalier.nn.zeroskip.problem import Case

MEASURED, ZEROSKIP = "measured", "zeroskip"
INFERENCE, TRAINING, BACKWARD = "inference", "training", "backward"
RULES = MEASURED, ZEROSKIP, DENSE
# Calls from one look at the densities to the next: they drift over hundreds of steps, and a look
# takes some microseconds. An odd number: a layer that is called twice a step is seen in both roles.
LOOK_EVERY = 17
# A pass leaves PyTorch's operator, or one variant for another, only for a gain of at least 5 %, and
# goes back as soon as PyTorch's is the faster: densities that waver change nothing.
MARGIN = 0.05
# Layers of trained ReLU networks are rarely sparser.
LOWEST_DENSITY = 0.1
_MOST_SHAPES = 256


def cheapest(curve: Curve, densities: Mapping[str, float], current: str = DENSE) -> str:
    """The variant to run.

    Arguments:
        densities: by variant, of those that are possible now; dense always is.
        current: the variant in force, which a rival must beat by a margin.

    >>> curve = Curve(1.0, {"input": (0.1, 0.2, 0.5, 0.96)})
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


def could_gain(curve: Curve, variants: Collection[str]) -> bool:
    """Whether one of these variants would be chosen at the lowest density to be expected."""
    expected = dict.fromkeys(curve.variants.keys() & variants, LOWEST_DENSITY)
    return cheapest(curve, expected) != DENSE


class Choice:
    """One pass of a layer at one shape.

    Attributes:
        variant: what runs, ``"dense"`` or one of ``VARIANTS[pass_name]``.
        densities: last seen, by variant.
    """

    def __init__(self, pass_name: str, case: Case, costs: Costs, rule: str) -> None:
        self.pass_name = pass_name
        self.variant = DENSE
        self.densities: dict[str, float] = {}
        self._case = case
        self._costs = costs
        self._rule = rule

    @property
    def curve(self) -> Curve:
        """The measured seconds of this pass; measured now, if never before."""
        return self._costs.curve(self._case, self.pass_name)

    def decide(self, densities: Mapping[str, float]) -> None:
        """Choose, by the density seen of each variant that is possible now."""
        self.densities.update(densities)
        self.variant = self.best(densities)

    def best(self, densities: Mapping[str, float]) -> str:
        """What `decide` would choose."""
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


class Site:
    """The choices of a layer at one shape of input."""

    __slots__ = ("_counts", "backward_input", "backward_weight", "case", "forward")

    def __init__(self, case: Case, costs: Costs, rule: str) -> None:
        self.case = case
        self.forward, self.backward_input, self.backward_weight = (
            Choice(pass_name, case, costs, rule) for pass_name in VARIANTS
        )
        self._counts = {INFERENCE: 0, TRAINING: 0, BACKWARD: 0}

    @property
    def calls(self) -> int:
        """Forward calls so far."""
        return self._counts[INFERENCE] + self._counts[TRAINING]

    @property
    def choices(self) -> tuple[Choice, Choice, Choice]:
        """Those of the three passes, in the order of VARIANTS."""
        return self.forward, self.backward_input, self.backward_weight

    def looks(self, kind: str) -> bool:
        """Count a call; whether it is one that looks at the densities.

        Arguments:
            kind: a forward call for INFERENCE, one for TRAINING (its backward pass then looks
                too), or the BACKWARD of a compiled program, which cannot know its forward call.
        """
        self._counts[kind] += 1
        return self._counts[kind] % LOOK_EVERY == 1

    def is_dense(self, learns: bool) -> bool:
        """Whether everything that this call will run is PyTorch's."""
        return self.forward.variant == DENSE and (
            not learns or self.backward_input.variant == self.backward_weight.variant == DENSE
        )


class LayerChoices:
    """The choices of a layer at all shapes it has met; a copied layer starts with none.

    Attributes:
        rule: ``"measured"``, or ``"zeroskip"`` or ``"dense"`` to force every pass.
        handle: a number by which a compiled program finds this object again.
    """

    _numbers = itertools.count(1)
    _by_handle: ClassVar[weakref.WeakValueDictionary[int, LayerChoices]] = (
        weakref.WeakValueDictionary()
    )

    def __init__(self, rule: str = MEASURED, costs: Costs = COSTS) -> None:
        self.rule = rule
        self.handle = next(self._numbers)
        self._by_handle[self.handle] = self
        self._costs = costs
        self._sites: dict[Case, Site] = {}
        self._by_shape: dict[tuple[Any, ...], Site] = {}

    @classmethod
    def of(cls, handle: int) -> LayerChoices | None:
        """The choices with this handle; None if their layer is gone."""
        return cls._by_handle.get(handle)

    @property
    def sites(self) -> list[Site]:
        """One for each shape met, in the order they came."""
        return list(self._sites.values())

    def site(self, product: Product, x: torch.Size, weight: torch.Size, threads: int) -> Site:
        """The choices for an input of this shape."""
        shape = product, x, threads
        site = self._by_shape.get(shape)
        if site is None:
            case = Case.of(product, x, weight, threads)
            site = self._sites.setdefault(case, Site(case, self._costs, self.rule))
            if len(self._by_shape) >= _MOST_SHAPES:
                self._by_shape.clear()
            self._by_shape[shape] = site
        return site

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerChoices, (self.rule,)
