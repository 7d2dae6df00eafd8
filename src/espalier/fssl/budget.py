"""What goes, while a budget tightens along its path: whole units, or single weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.fssl.control import Strength, least_useful, wanted
from espalier.fssl.groups import SPARSE, Groups
from espalier.fssl.measures import Measure
from espalier.fssl.members import OUTGOING
from espalier.fssl.penalty import Times, unit_prices
from espalier.fssl.shrink import Shrinker

COMMIT_CHECKS = 3  # in a row that find a unit dead
MEMORY = 0.04  # weight of the newest batch in what is known of a unit's use
_ROUNDING = 1e-6  # of a whole number of weights
_LEAST_SCORE = 1e-30  # of a unit that lives, however useless

# Parameters, and 1 where they may still change.
Masks = list[tuple[Tensor, Tensor]]


class Budget:
    """Takes a network to a target; subclasses know what goes.

    Arguments:
        measure, target: what is to become small, and the part of it to end with.

    Attributes:
        widths, nonzeros: units of each family and non-zeros of each layer, when last looked.
        strength: of the penalty.
    """

    sparse = False  # whether single weights of dense layers count

    def __init__(self, groups: Groups, measure: Measure, target: float, shrinker: Shrinker) -> None:
        self._groups, self._measure, self._target = groups, measure, target
        self._shrinker = shrinker
        self._path = 1.0
        self.strength = Strength()
        self.widths, self.nonzeros = groups.widths(), groups.nonzeros()

    def shrink(self, lr: float, *, backwards: bool) -> None:
        """One proximal step on what is to go."""
        raise NotImplementedError

    def choose(self, part: float, lr: float) -> float:
        """Choose what is to go until this part is left; returns the strength that kills at once."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove at once what the target has no room for."""
        raise NotImplementedError

    def masks(self) -> Masks:
        """Where what is 0 now stays 0."""
        raise NotImplementedError

    def tighten(self, done: float, lr: float) -> None:
        """See how far it is, and follow the path to where it is when `done` is over."""
        self._look()
        before, self._path = self._path, self.path(done)
        fatal = self.choose(self._path, lr)
        self.strength.set(fatal, self.left(self.widths), before)

    def meet(self) -> None:
        """Make the target hold, as far as it can."""
        self.remove()
        self._look()

    def path(self, done: float) -> float:
        """The part that should be left when so much of the shaping is over."""
        return wanted(self._target, done)

    def left(self, widths: Sequence[int]) -> float:
        """The part of the measure that is left with so many units alive."""
        return self._measure.left(widths, self.counted(widths))

    @property
    def reached(self) -> bool:
        """Whether the target held when last looked."""
        return self.left(self.widths) <= self._target + 1e-9

    def counted(self, widths: Sequence[int]) -> list[int | None]:
        """Non-zeros of each layer with so many units alive; None for layers that run dense."""
        counted: list[int | None] = []
        for layer, count in zip(self._groups.layers, self.nonzeros, strict=True):
            full = layer.weights(*self._groups.layer_widths(layer, self.widths))
            share = layer.weights(*self._groups.layer_widths(layer, widths)) / max(1, full)
            counts = self.sparse or layer.kind == SPARSE
            counted.append(round(share * count) if counts else None)
        return counted

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers."""
        return {
            "path": self._path,
            "strength": vars(self.strength).copy(),
            "widths": self.widths,
            "nonzeros": self.nonzeros,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._path = state["path"]
        self.strength = Strength(**state["strength"])
        self.widths, self.nonzeros = list(state["widths"]), list(state["nonzeros"])

    def _look(self) -> None:
        self.widths, self.nonzeros = self._groups.widths(), self._groups.nonzeros()


class UnitBudget(Budget):
    """Whole units go: the least useful for what they cost.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
        times: by whose marginals units are priced; without, by their weights.
        mix: 0 for weights alone, 1 for time alone.
        min_width: units that each family keeps.
        whole: families that keep all their units.
    """

    def __init__(
        self,
        groups: Groups,
        measure: Measure,
        target: float,
        shrinker: Shrinker,
        *,
        counts: Sequence[Tensor],
        times: Times | None,
        mix: float,
        min_width: int,
        whole: Sequence[bool],
    ) -> None:
        super().__init__(groups, measure, target, shrinker)
        self._counts, self._times, self._mix, self._min_width = counts, times, mix, min_width
        self._whole = whole
        sizes = groups.full_widths
        self._doomed = [torch.zeros(size, dtype=torch.bool) for size in sizes]
        self._dead_checks = [torch.zeros(size) for size in sizes]
        self._saliences = [torch.zeros(size) for size in sizes]

    def shrink(self, lr: float, *, backwards: bool) -> None:
        """One proximal step on the doomed groups, from what the newest gradients say."""
        self._feel()
        self._shrinker.shrink(self.strength.value, lr, self._doomed, backwards=backwards)

    def choose(self, part: float, lr: float) -> float:
        """Doom units until this part is left."""
        for units, dead in zip(self._groups.units, self._dead_checks, strict=True):
            dead.add_(1.0).masked_fill_(units.alive(), 0.0)
        self._doomed = self._least_useful(part)
        return self._shrinker.fatal_strength(lr, self._doomed)

    def remove(self) -> None:
        """Remove the least useful units."""
        self._shrinker.remove(self._least_useful(self._target))

    def masks(self) -> Masks:
        """Dead units stay dead."""
        masks: dict[Tensor, Tensor] = {}
        for units in self._groups.units:
            alive = units.alive().float()
            for member in units.members:
                mask = masks.setdefault(member.parameter, torch.ones_like(member.parameter))
                mask *= member.spread(alive)
        return list(masks.items())

    def state_dict(self) -> dict[str, Any]:
        """What is known of every unit, too."""
        known = {name: [each.clone() for each in tensors] for name, tensors in self._known.items()}
        return {**super().state_dict(), **known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What is known of every unit, too."""
        super().load_state_dict(state)
        for name, tensors in self._known.items():
            for mine, given in zip(tensors, state[name], strict=True):
                mine.copy_(given)

    @property
    def _known(self) -> dict[str, list[Tensor]]:
        return {
            "doomed": self._doomed,
            "dead_checks": self._dead_checks,
            "saliences": self._saliences,
        }

    def _feel(self) -> None:
        """Average the square of what the loss would change, to first order, without each unit.

        What a unit puts out reaches the loss through its outgoing weights alone, so that their
        sum of weight times gradient is the loss's slope along the whole unit.
        """
        for units, salience in zip(self._groups.units, self._saliences, strict=True):
            change = torch.zeros(units.size)
            for member in units.members:
                if member.role == OUTGOING:
                    if member.parameter.grad is None:
                        break
                    change += member.sums(member.parameter * member.parameter.grad)
            else:
                salience.lerp_(change.square(), MEMORY)

    def _least_useful(self, part: float) -> list[Tensor]:
        """The units dead for good, and the least useful for what they cost.

        Of a family that no gradient has reached nothing is known, and it stays.
        """
        prices = unit_prices(self._groups, self._counts, self.widths, self._times, self._mix)
        scores = [
            (salience.sqrt() / price + _LEAST_SCORE) * (units.alive() & (dead < COMMIT_CHECKS))
            for units, salience, price, dead in zip(
                self._groups.units, self._saliences, prices, self._dead_checks, strict=True
            )
        ]
        for score, salience, stays in zip(scores, self._saliences, self._whole, strict=True):
            if stays or not salience.any():
                score.fill_(torch.inf)
        return least_useful(scores, self.left, part, self._min_width)


class WeightBudget(Budget):
    """Single weights go: the smallest of some layers.

    Arguments:
        weights: of the layers that may become sparse.
    """

    sparse = True

    def __init__(
        self,
        groups: Groups,
        measure: Measure,
        target: float,
        shrinker: Shrinker,
        weights: Sequence[nn.Parameter],
    ) -> None:
        super().__init__(groups, measure, target, shrinker)
        self._weights = weights
        self._doomed = [torch.zeros_like(weight) for weight in self._weights]

    def shrink(self, lr: float, *, backwards: bool) -> None:
        """A soft threshold on the doomed weights."""
        doomed = list(zip(self._weights, self._doomed, strict=True))
        self._shrinker.shrink_weights(self.strength.value, doomed)

    def choose(self, part: float, lr: float) -> float:
        """Doom the smallest weights until this part of all is left."""
        cut = self._magnitude(part)
        self._doomed = [_below(weight, cut).to(weight.dtype) for weight in self._weights]
        return cut

    def remove(self) -> None:
        """Remove the smallest weights."""
        cut = self._magnitude(self._target)
        for weight in self._weights:
            weight.mul_(~_below(weight, cut))

    def masks(self) -> Masks:
        """Weights that are 0 stay 0."""
        return [(weight, (weight != 0.0).float()) for weight in self._weights]

    def state_dict(self) -> dict[str, Any]:
        """Which weights are doomed, too."""
        return {**super().state_dict(), "weights": [each.clone() for each in self._doomed]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Which weights are doomed, too."""
        super().load_state_dict(state)
        for mine, given in zip(self._doomed, state["weights"], strict=True):
            mine.copy_(given)

    def _magnitude(self, left: float) -> float:
        """The size below which weights go, so that this part of all weights is left."""
        sizes = torch.cat([_others(weight) for weight in self._weights])
        total = sum(self._groups.weight(layer).numel() for layer in self._groups.layers)
        elsewhere = total - len(sizes)
        kept = int(left * total + _ROUNDING) - elsewhere - len(self._weights)
        if kept <= 0:
            return float(sizes.max()) + 1.0
        place = max(0, len(sizes) - kept)
        return float(np.partition(sizes.numpy(), place)[place])  # 40 times as fast as torch's


def _below(weight: Tensor, cut: float) -> Tensor:
    """Which weights of a layer are below the cut; never its largest, lest the layer dies."""
    sizes = weight.detach().abs()
    return (sizes < cut) & (sizes < sizes.max())


def _others(weight: Tensor) -> Tensor:
    """The sizes of a layer's weights, with a 0 in place of the largest."""
    sizes = weight.detach().abs().flatten().float()
    sizes[sizes.argmax()] = 0.0
    return sizes
