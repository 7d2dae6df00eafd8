"""Whole units go: the least important of each family, sooner where the family costs much."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import torch
from torch import Tensor

from espalier.errors import InputError
from espalier.fssl.groups.groups import Groups
from espalier.fssl.groups.slices import OUTGOING
from espalier.fssl.shaping.budget import Budget, Masks
from espalier.fssl.shaping.importance import (
    CRITERIA,
    PRICE_POWER,
    least_important,
    ranks,
)
from espalier.fssl.shaping.proximal import ProximalStep
from espalier.fssl.shaping.targets import RelativeSize

COMMIT_CHECKS = 3  # in a row that find a unit dead


class UnitBudget(Budget):
    """Whole units go: those least important in their family, for what the family costs.

    Arguments:
        prices: what each family costs with so many units of each.
        criterion: of `CRITERIA`, how important a unit is.
        min_width: units that each family keeps.
        whole: families that keep all their units.
    """

    def __init__(
        self,
        groups: Groups,
        measure: RelativeSize,
        target: float,
        proximal: ProximalStep,
        *,
        prices: Callable[[Sequence[int]], list[float]],
        criterion: str,
        min_width: int,
        whole: Sequence[bool],
    ) -> None:
        super().__init__(groups, measure, target, proximal)
        self._prices, self._importance = prices, CRITERIA[criterion]
        self._min_width, self._whole = min_width, whole
        sizes = groups.full_widths
        self._to_prune = [torch.zeros(size, dtype=torch.bool) for size in sizes]
        self._dead_checks = [torch.zeros(size) for size in sizes]
        self._has_gradient = [torch.zeros(size, dtype=torch.bool) for size in sizes]

    def proximal_step(self, lr: float, *, backwards: bool) -> None:
        """One proximal step on the groups to prune."""
        self._see_gradients()
        self._proximal.on_groups(self.strength.value, lr, self._to_prune, backwards=backwards)

    def choose(self, part: float, lr: float) -> float:
        """Choose units to prune until this part is left."""
        for units, dead in zip(self._groups.units, self._dead_checks, strict=True):
            dead.add_(1.0).masked_fill_(units.alive(), 0.0)
        self._to_prune = self._least_important(part)
        return self._proximal.critical_lambda(lr, self._to_prune)

    def remove(self) -> None:
        """Remove what is too much."""
        self._proximal.remove(self._least_important(self._target))

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
        """The state of every budget, and what is known of each unit."""
        known = {name: [each.clone() for each in tensors] for name, tensors in self._known.items()}
        return {**super().state_dict(), **known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        for name, tensors in self._known.items():
            for mine, given in zip(tensors, state[name], strict=True):
                mine.copy_(given)

    @property
    def _known(self) -> dict[str, list[Tensor]]:
        """What is known of each unit, by the names that checkpoints have for it."""
        return {
            "doomed": self._to_prune,
            "dead_checks": self._dead_checks,
            "felt": self._has_gradient,
        }

    def _see_gradients(self) -> None:
        """Learn which units matter to the loss at all.

        What a unit puts out reaches the loss through its outgoing weights alone: without a
        gradient there, it was 0 or nothing read it.
        """
        for units, has_gradient in zip(self._groups.units, self._has_gradient, strict=True):
            for piece in units.slices:
                if piece.role == OUTGOING and piece.parameter.grad is not None:
                    has_gradient |= piece.sums(piece.parameter.grad.abs()) > 0.0

    def _least_important(self, part: float) -> list[Tensor]:
        """The units dead for good, and the least important for what they cost.

        Of a family that no gradient has reached nothing is known, and it stays.
        """
        prices = self._prices(self.widths)
        scores = []
        for index, units in enumerate(self._groups.units):
            has_gradient, whole = self._has_gradient[index], self._whole[index]
            if whole or not has_gradient.any():
                scores.append(torch.full((units.size,), torch.inf))
                continue
            alive = units.alive() & (self._dead_checks[index] < COMMIT_CHECKS)
            scores.append(
                ranks(self._importance(units) * has_gradient) / prices[index] ** PRICE_POWER * alive
            )
        return least_important(scores, self.left, part, self._min_width)


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
