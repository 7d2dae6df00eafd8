"""Whole units go: those of least use for what they cost."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

from espalier.errors import InputError
from espalier.fssl.budget import Budget, Masks
from espalier.fssl.control import least_useful
from espalier.fssl.groups import Groups
from espalier.fssl.measures import Measure
from espalier.fssl.members import OUTGOING
from espalier.fssl.penalty import Times, unit_prices
from espalier.fssl.shrink import Shrinker

COMMIT_CHECKS = 3  # in a row that find a unit dead
MEMORY = 0.04  # weight of the newest batch in what is known of a unit's use
_LEAST_SCORE = 1e-30  # of a unit that lives, however useless


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


def whole_families(groups: Groups, learns: Container[Tensor]) -> list[bool]:
    """Which families have parameters that do not learn, and so keep all their units.

    Raises:
        InputError: all have.
    """
    whole = [any(each.parameter not in learns for each in units.members) for units in groups.units]
    if all(whole):
        raise InputError(
            "no unit of this model could be removed: of each family some parameter is not among "
            "those of base, or has requires_grad=False"
        )
    return whole
