"""Whole units go: the smallest of each family, a little sooner where the family costs much."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

from espalier.errors import InputError
from espalier.fssl.groups.groups import Groups
from espalier.fssl.groups.slices import OUTGOING
from espalier.fssl.shaping.budget import Budget, Masks
from espalier.fssl.shaping.penalty import Times, family_prices
from espalier.fssl.shaping.proximal_step import Shrinker
from espalier.fssl.shaping.schedule import least_useful
from espalier.fssl.shaping.targets import Measure

COMMIT_CHECKS = 3  # in a row that find a unit dead
PRICE_POWER = 0.25  # small, lest the dearest family shrink to its least width


class UnitBudget(Budget):
    """Whole units go: those of least norm in their family, for what the family costs.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
        times: by whose marginals families are priced; without, by their weights.
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
        self._felt = [torch.zeros(size, dtype=torch.bool) for size in sizes]

    def shrink(self, lr: float, *, backwards: bool) -> None:
        """One proximal step on the doomed groups."""
        self._feel()
        self._shrinker.shrink(self.strength.value, lr, self._doomed, backwards=backwards)

    def choose(self, part: float, lr: float) -> float:
        """Doom units until this part is left."""
        for units, dead in zip(self._groups.units, self._dead_checks, strict=True):
            dead.add_(1.0).masked_fill_(units.alive(), 0.0)
        self._doomed = self._least_useful(part)
        return self._shrinker.fatal_strength(lr, self._doomed)

    def remove(self) -> None:
        """Remove what is too much."""
        self._shrinker.remove(self._least_useful(self._target))

    def masks(self) -> Masks:
        """Dead units stay dead."""
        masks: dict[Tensor, Tensor] = {}
        for units in self._groups.units:
            alive = units.alive().float()
            for piece in units.slices:
                mask = masks.setdefault(piece.parameter, torch.ones_like(piece.parameter))
                mask *= piece.spread(alive)
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
            "felt": self._felt,
        }

    def _feel(self) -> None:
        """Learn which units matter to the loss at all.

        What a unit puts out reaches the loss through its outgoing weights alone: without a
        gradient there, it was 0 or nobody heard it.
        """
        for units, felt in zip(self._groups.units, self._felt, strict=True):
            for piece in units.slices:
                if piece.role == OUTGOING and piece.parameter.grad is not None:
                    felt |= piece.sums(piece.parameter.grad.abs()) > 0.0

    def _least_useful(self, part: float) -> list[Tensor]:
        """The units dead for good, and the least useful for what they cost.

        Of a family that no gradient has reached nothing is known, and it stays.
        """
        prices = family_prices(self._counts, self.widths, self._times, self._mix)
        scores = []
        for index, units in enumerate(self._groups.units):
            felt, whole = self._felt[index], self._whole[index]
            if whole or not felt.any():
                scores.append(torch.full((units.size,), torch.inf))
                continue
            lives = units.alive() & (self._dead_checks[index] < COMMIT_CHECKS)
            scores.append(ranks(units.norms() * felt) / prices[index] ** PRICE_POWER * lives)
        return least_useful(scores, self.left, part, self._min_width)


def ranks(sizes: Tensor) -> Tensor:
    """The place of each unit among its family, from the least, as a part of the family.

    Norms of several families compared with each other would empty a layer.

    >>> ranks(torch.tensor([0.5, 3.0, 0.0, 2.0])).tolist()
    [0.5, 1.0, 0.25, 0.75]
    """
    return (sizes.argsort(stable=True).argsort() + 1) / len(sizes)


def whole_families(groups: Groups, learns: Container[Tensor]) -> list[bool]:
    """Which families have parameters that do not learn, and so keep all their units.

    Raises:
        InputError: all have.
    """
    whole = [any(each.parameter not in learns for each in units.slices) for units in groups.units]
    if all(whole):
        raise InputError(
            "no unit of this model could be removed: of each family some parameter is not among "
            "those of base, or has requires_grad=False"
        )
    return whole
