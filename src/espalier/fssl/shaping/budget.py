"""A budget that tightens along its path; `unit_budget` and `weight_budget` say what goes for it.

The penalty is trimmed: it leaves alone the groups that the budget of the moment has room for and
takes the others to zero, so that what stays is not shrunk for nothing. Source of trimming: Yun,
Lozano, Yang, "Trimming the l1 Regularizer", ICML 2019, there for single weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from espalier.fssl.groups.groups import SPARSE, Groups
from espalier.fssl.shaping.proximal import ProximalStep
from espalier.fssl.shaping.schedule import Strength, scheduled
from espalier.fssl.shaping.targets import RelativeSize

# Parameters, and 1 where they may still change.
Masks = list[tuple[Tensor, Tensor]]


class Budget:
    """Shrinks a network to a target; subclasses choose what goes.

    Arguments:
        measure, target: what is to shrink, such as the time, and the part of it to end with.

    Attributes:
        widths, nonzeros: units of each family and non-zeros of each layer, at the last check.
        strength: of the penalty.
    """

    sparse = False  # whether single weights of dense layers count

    def __init__(
        self, groups: Groups, measure: RelativeSize, target: float, proximal: ProximalStep
    ) -> None:
        self._groups, self._measure, self._target = groups, measure, target
        self._proximal = proximal
        self._path = 1.0
        self.strength = Strength()
        self.widths, self.nonzeros = groups.widths(), groups.nonzeros()

    def proximal_step(self, lr: float, *, backwards: bool) -> None:
        """One proximal step on what is to go."""
        raise NotImplementedError

    def choose(self, part: float, lr: float) -> float:
        """Choose what is to go until this part is left; returns the critical lambda."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove at once what the target has no room for."""
        raise NotImplementedError

    def masks(self) -> Masks:
        """Parameters with the masks that keep at 0 what is 0 now."""
        raise NotImplementedError

    def tighten(self, done: float, lr: float) -> None:
        """Count what is left, and follow the path to where it is when `done` is over."""
        self._count()
        before, self._path = self._path, self.path(done)
        critical = self.choose(self._path, lr)
        self.strength.update(critical, self.left(self.widths), before)

    def meet(self) -> None:
        """Make the target hold, as far as it can."""
        self.remove()
        self._count()

    def path(self, done: float) -> float:
        """The part that should be left when so much of the shaping is over."""
        return scheduled(self._target, done)

    def left(self, widths: Sequence[int]) -> float:
        """The part of the measure that is left with so many units alive."""
        return self._measure(widths, self.counted(widths))

    @property
    def reached(self) -> bool:
        """Whether the target held at the last check."""
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

    def _count(self) -> None:
        self.widths, self.nonzeros = self._groups.widths(), self._groups.nonzeros()
