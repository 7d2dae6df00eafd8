"""FSSLOptimizer: any torch optimiser, followed by the proximal step of the fused loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from espalier.errors import InputError, TrainingError
from espalier.fssl.groups.groups import Groups, check_groups
from espalier.fssl.shaping.budget import Budget, Masks
from espalier.fssl.shaping.importance import CRITERIA, family_prices
from espalier.fssl.shaping.proximal import ProximalStep
from espalier.fssl.shaping.schedule import WARM_UP
from espalier.fssl.shaping.targets import Times, relative_nonzeros, relative_time, relative_units
from espalier.fssl.shaping.unit_budget import UnitBudget, whole_families
from espalier.fssl.shaping.weight_budget import WeightBudget, prunable_weights

LEAST_STEPS = 20
MIN_PROXIMAL_STEPS = 50  # proximal steps, however short the shaping
CHECKS = 100  # of the target, while shaping lasts
BUDGET_AT = 0.9  # part of the steps after which the target must hold


@dataclass(frozen=True)
class Progress:
    """How far the shaping of a network is.

    Attributes:
        step, steps: done, and of the whole phase.
        widths: units alive, for each family.
        nonzeros: weights that are not 0.
        left: the controlled measure, as a part of what it was.
        wanted: what it should be by now.
        strength: of the penalty, lambda.
        seconds: predicted for one batch; None without a time model.
    """

    step: int
    steps: int
    widths: list[int]
    nonzeros: int
    left: float
    wanted: float
    strength: float
    seconds: float | None


class FSSLOptimizer(Optimizer):
    """Wrap an optimiser so that training also removes units or weights, down to a target.

    Every few steps a proximal step moves the groups for which the budget has no room towards 0,
    where they stay; the budget tightens until the target holds, after nine tenths of the steps.
    From then on zeros stay zeros. `espalier.fssl.compact` makes the smaller network of it.

    Arguments:
        base: an optimiser of the model's parameters. The proximal step follows the metric of Adam
            and its kin; any other optimiser is taken to make steps of size ``lr``, the largest of
            its parameter groups'. Units with parameters that it does not change all stay.
        groups: from `find_groups`.
        time: a `TimeModel`, needed for ``target_time``; else families are priced by their weights.
        steps: optimiser steps that the shaping takes.
        target_time, target_zeros, target_units: exactly one: the part of the predicted time to
            end with, the part of the weights to zero (one by one, for sparse layers), or the part
            of the units to keep.
        mix: 0 to price families of units by their weights, 1 by the time they cost.
        criterion: how important a unit is: ``"norm"`` of its group, or ``"first_order"``, what the
            loss would change without it. Single weights go by magnitude.
        every: steps from one proximal step to the next.
        min_width: units that stay in each layer.

    Raises:
        InputError: not exactly one target, a number out of range, or nothing that learns.
        TrainingError: by `step`, of weights that are no finite numbers any more.

    >>> from espalier.fssl import find_groups
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> groups = find_groups(model, torch.zeros(1, 4))
    >>> base = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> optimizer = FSSLOptimizer(base, groups, steps=40, target_units=0.5)
    >>> for _ in range(40):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(3, 4)).square().mean().backward()
    ...     optimizer.step()
    >>> optimizer.finished, sum(groups.widths()) <= 6
    (True, True)
    """

    def __init__(
        self,
        base: Optimizer,
        groups: Groups,
        time: Times | None = None,
        *,
        steps: int,
        target_time: float | None = None,
        target_zeros: float | None = None,
        target_units: float | None = None,
        mix: float = 0.5,
        criterion: str = "norm",
        every: int = 20,
        min_width: int = 2,
    ) -> None:
        if not isinstance(base, Optimizer):
            raise InputError(f"base is a {type(base).__name__}, wanted a torch.optim.Optimizer")
        check_groups(groups)
        for name, count, least in (
            ("steps", steps, LEAST_STEPS),
            ("every", every, 1),
            ("min_width", min_width, 1),
        ):
            if type(count) is not int or count < least:
                raise InputError(f"{name} is {count!r}, wanted a whole number, {least} or more")
        if not _is_number(mix) or not 0.0 <= mix <= 1.0:
            raise InputError(f"mix is {mix!r}, wanted 0 to 1")
        if criterion not in CRITERIA:
            raise InputError(f"criterion is {criterion!r}, wanted one of {', '.join(CRITERIA)}")
        self.base, self.groups, self.time, self.steps = base, groups, time, steps
        targets = {"time": target_time, "zeros": target_zeros, "units": target_units}
        self._budget = _budget(base, groups, time, targets, mix, criterion, min_width)
        self._asked = {
            **targets,
            "steps": steps,
            "mix": mix,
            "criterion": criterion,
            "every": every,
            "width": min_width,
        }
        self._every = min(every, max(1, steps // MIN_PROXIMAL_STEPS))
        self._check_every = self._every * max(1, steps // (CHECKS * self._every))
        self._step = 0
        self._lr = 0.0  # summed since the last proximal step
        self._masks: Masks = []

    # What schedulers and training loops know of an optimiser is the base's.
    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return self.base.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.base.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        return self.base.defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        self.base.zero_grad(set_to_none)

    def register_step_pre_hook(self, hook: Any) -> Any:
        """Call a hook before each step of the base."""
        return self.base.register_step_pre_hook(hook)

    def register_step_post_hook(self, hook: Any) -> Any:
        """Call a hook after each step of the base, before the proximal step."""
        return self.base.register_step_post_hook(hook)

    @property
    def finished(self) -> bool:
        """Whether shaping is over: the target is met, as far as it can be, and zeros stay."""
        return self._step >= self.steps

    @property
    def reached(self) -> bool:
        """Whether the target holds; it may not where `min_width` stands against it."""
        return self._budget.reached

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of the base; now and then the proximal step, and a check of the target."""
        with torch.enable_grad():
            loss: float | None = self.base.step(closure)
        self._step += 1
        if self._masks:
            for parameter, mask in self._masks:
                parameter.mul_(mask)
        elif self._done >= 1.0:
            self._check_numbers()
            self._budget.meet()
            self._masks = self._budget.masks()
        else:
            self._lr += max(float(group["lr"]) for group in self.param_groups)
            if self._step % self._every == 0 and self._lr > 0.0:
                self._shape()
        return loss

    def progress(self) -> Progress:
        """How far the shaping was at its last check."""
        budget, time = self._budget, self.time
        counted = budget.counted(budget.widths)
        return Progress(
            step=self._step,
            steps=self.steps,
            widths=budget.widths,
            nonzeros=sum(budget.nonzeros),
            left=budget.left(budget.widths),
            wanted=budget.path(self._done),
            strength=budget.strength.value,
            seconds=None if time is None else time.seconds(budget.widths, counted),
        )

    def state_dict(self) -> dict[str, Any]:
        """The base's state and that of the shaping: tensors and plain numbers."""
        return {
            "asked": self._asked,
            "base": self.base.state_dict(),
            "budget": self._budget.state_dict(),
            "step": self._step,
            "lr": self._lr,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave; load the model's weights before.

        Raises:
            InputError: the state is of another optimiser, model, target or number of steps.
        """
        try:
            asked = {"criterion": "norm", **state["asked"]}  # the only one there once was
            if asked != self._asked:
                raise ValueError(f"it was asked for {asked}, this one for {self._asked}")
            self.base.load_state_dict(state["base"])
            self._budget.load_state_dict(state["budget"])
            self._step, self._lr = state["step"], state["lr"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                "the state does not fit, wanted one that state_dict gave of an FSSLOptimizer for "
                f"the same model, base and target: {error!r}"
            ) from error
        self._masks = self._budget.masks() if self._done >= 1.0 else []

    @property
    def _done(self) -> float:
        return min(1.0, self._step / (BUDGET_AT * self.steps))

    def _shape(self) -> None:
        """The proximal step, and every few of them a check."""
        self._budget.proximal_step(self._lr, backwards=self._step // self._every % 2 == 0)
        if self._step % self._check_every == 0 and self._done >= WARM_UP:
            self._check_numbers()
            self._budget.tighten(self._done, self._lr)
        self._lr = 0.0

    def _check_numbers(self) -> None:
        """Refuse to choose among weights that are not finite: any choice would seem to succeed."""
        for layer in self.groups.layers:
            if not self.groups.weight(layer).isfinite().all():
                raise TrainingError(
                    f"weights of {layer.name} are not finite after step {self._step} of "
                    f"{self.steps}; go back to an earlier state and lower the learning rate"
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _budget(
    base: Optimizer,
    groups: Groups,
    time: Times | None,
    targets: dict[str, float | None],
    mix: float,
    criterion: str,
    min_width: int,
) -> Budget:
    """The budget of the one target that is given."""
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) != 1:
        names, came = (", ".join(f"target_{name}" for name in each) for each in (targets, given))
        raise InputError(f"wanted exactly one of {names}, came {came or 'none'}")
    ((name, value),) = given.items()
    if not _is_number(value) or not 0.0 < value < 1.0:
        raise InputError(f"target_{name} is {value!r}, wanted a part between 0 and 1")
    learns = {each for group in base.param_groups for each in group["params"] if each.requires_grad}
    counts = [units.counts() for units in groups.units]
    proximal = ProximalStep(base, groups, counts)
    if name == "zeros":
        weights = prunable_weights(groups, learns, value)
        return WeightBudget(groups, relative_nonzeros(groups), 1.0 - value, proximal, weights)
    if name == "time" and time is None:
        raise InputError("target_time needs a time model; pass time=TimeModel.measure(groups)")
    measure = (
        relative_units(groups) if name == "units" or time is None else relative_time(groups, time)
    )
    return UnitBudget(
        groups,
        measure,
        value,
        proximal,
        prices=lambda widths: family_prices(counts, widths, time, mix),
        criterion=criterion,
        min_width=min_width,
        whole=whole_families(groups, learns),
    )
