"""FSSLOptimizer: any torch optimiser, followed by the proximal step of the fused loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from espalier.errors import InputError
from espalier.fssl.control import WARM_UP, Strength, least_useful, wanted
from espalier.fssl.groups import SPARSE, Groups, LayerUse
from espalier.fssl.measures import Measure, TimeLeft, UnitsLeft, WeightsLeft
from espalier.fssl.members import OUTGOING
from espalier.fssl.penalty import Times, unit_prices
from espalier.fssl.shrink import Shrinker

LEAST_STEPS = 20
LEAST_SHRINKS = 50  # proximal steps, however short the shaping
CHECKS = 100  # of the target, while shaping lasts
BUDGET_AT = 0.9  # part of the steps after which the target must hold
COMMIT_CHECKS = 3  # in a row that find a unit dead
MEMORY = 0.04  # weight of the newest batch in what is known of a unit's use


@dataclass(frozen=True)
class Progress:
    """Where the shaping of a network stands.

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
            and its kin; any other optimiser is taken to make steps of size ``lr``.
        groups: from `find_groups`.
        time: a `TimeModel`, needed for ``target_time``; else units are priced by their weights.
        steps: optimiser steps that the shaping takes.
        target_time, target_zeros, target_units: exactly one: the part of the predicted time to
            end with, the part of the weights to zero (one by one, for sparse layers), or the part
            of the units to keep.
        mix: 0 to price a unit by its weights, 1 by the time it costs.
        every: steps from one proximal step to the next.
        min_width: units that stay in each layer.

    Raises:
        InputError: not exactly one target, or a number out of range.

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
        every: int = 20,
        min_width: int = 2,
    ) -> None:
        _check("steps", steps, LEAST_STEPS, None)
        _check("mix", mix, 0.0, 1.0)
        _check("every", every, 1, None)
        _check("min_width", min_width, 1, None)
        self.base, self.groups, self.time, self.steps = base, groups, time, steps
        self._measure, self._target = _measure(
            groups, time, target_time, target_zeros, target_units
        )
        self._mix, self._min_width = mix, min_width
        self._every = min(every, max(1, steps // LEAST_SHRINKS))
        self._check_every = self._every * max(1, steps // (CHECKS * self._every))
        self._counts = [units.counts() for units in groups.units]
        self._shrinker = Shrinker(base, groups, self._counts)
        self._strength = Strength()
        self._step = 0
        self._lr = 0.0  # summed since the last proximal step
        self._cut = 0.0  # weights below are penalised one by one
        self._path = 1.0
        sizes = groups.full_widths
        self._doomed = [torch.zeros(size, dtype=torch.bool) for size in sizes]
        self._dead_checks = [torch.zeros(size) for size in sizes]
        self._saliences = [torch.zeros(size) for size in sizes]
        self._seen = groups.widths(), groups.nonzeros()
        self._masks: list[tuple[Tensor, Tensor]] = []

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

    @property
    def finished(self) -> bool:
        """Whether shaping is over: the target is met, as far as it can be, and zeros stay."""
        return self._step >= self.steps

    @property
    def reached(self) -> bool:
        """Whether the target holds; it may not where `min_width` stands against it."""
        return self._left(self._seen[0]) <= self._target + 1e-9

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of the base; now and then the proximal step, and a look at the target."""
        with torch.enable_grad():
            loss: float | None = self.base.step(closure)
        self._step += 1
        if self._masks:
            for parameter, mask in self._masks:
                parameter.mul_(mask)
        elif self._step >= BUDGET_AT * self.steps:
            self._meet_target()
        else:
            self._lr += float(self.param_groups[0]["lr"])
            if self._step % self._every == 0:
                self._shape()
        return loss

    def progress(self) -> Progress:
        """Where the shaping stood at its last check."""
        widths, nonzeros = self._seen
        return Progress(
            step=self._step,
            steps=self.steps,
            widths=widths,
            nonzeros=sum(nonzeros),
            left=self._left(widths),
            wanted=wanted(self._target, self._done),
            strength=self._strength.value,
            seconds=None if self.time is None else self.time.seconds(widths, self._counted(widths)),
        )

    def state_dict(self) -> dict[str, Any]:
        """The base's state and that of the shaping: tensors and plain numbers."""
        return {
            "base": self.base.state_dict(),
            "numbers": {name: getattr(self, f"_{name}") for name in _NUMBERS},
            "strength": vars(self._strength).copy(),
            "tensors": {
                name: [each.clone() for each in getattr(self, f"_{name}")] for name in _TENSORS
            },
            "seen": self._seen,
            "frozen": bool(self._masks),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave; load the model's weights before."""
        self.base.load_state_dict(state["base"])
        for name in _NUMBERS:
            setattr(self, f"_{name}", state["numbers"][name])
        self._strength = Strength(**state["strength"])
        for name in _TENSORS:
            for mine, given in zip(getattr(self, f"_{name}"), state["tensors"][name], strict=True):
                mine.copy_(given)
        widths, nonzeros = state["seen"]
        self._seen = list(widths), list(nonzeros)
        self._masks = self._find_masks() if state["frozen"] else []

    @property
    def _done(self) -> float:
        return min(1.0, self._step / (BUDGET_AT * self.steps))

    @property
    def _by_weights(self) -> bool:
        return isinstance(self._measure, WeightsLeft)

    def _shape(self) -> None:
        """The proximal step, and every few of them a check."""
        if self._by_weights:
            self._shrinker.shrink_weights(self._cut, self._strength.value)
        else:
            self._feel()
            backwards = self._step // self._every % 2 == 0
            self._shrinker.shrink(self._strength.value, self._lr, self._doomed, backwards=backwards)
        if self._step % self._check_every == 0 and self._done >= WARM_UP:
            self._check()
        self._lr = 0.0

    def _feel(self) -> None:
        """Average the square of what the loss would change, to first order, without each unit.

        What a unit puts out reaches the loss through its outgoing weights alone, so that their
        sum of weight times gradient is the loss's slope along the whole unit.
        """
        for units, salience in zip(self.groups.units, self._saliences, strict=True):
            change = torch.zeros(units.size)
            for member in units.members:
                if member.role == OUTGOING and member.parameter.grad is not None:
                    change += member.sums(member.parameter * member.parameter.grad)
            salience.lerp_(change.square(), MEMORY)

    def _check(self) -> None:
        """See how far it is, and choose what is to go next."""
        alive = self.groups.alive()
        self._seen = [int(lives.sum()) for lives in alive], self.groups.nonzeros()
        behind, self._path = self._path, wanted(self._target, self._done)
        if self._by_weights:
            self._cut = _magnitude(self.groups, self._path)
            self._strength.set(self._cut, self._left(self._seen[0]), behind)
            return
        for lives, dead in zip(alive, self._dead_checks, strict=True):
            dead.add_(1.0).masked_fill_(lives, 0.0)
        self._doomed = self._choose(alive, self._path)
        fatal = self._shrinker.fatal_strength(self._lr, self._doomed)
        self._strength.set(fatal, self._left(self._seen[0]), behind)

    def _choose(self, alive: list[Tensor], target: float) -> list[Tensor]:
        """The units to remove: those dead for good, and the least useful for what they cost."""
        prices = unit_prices(self.groups, self._counts, self._seen[0], self.time, self._mix)
        scores = [
            (salience.sqrt() / price + _LEAST_SCORE) * (lives & (dead < COMMIT_CHECKS))
            for salience, price, lives, dead in zip(
                self._saliences, prices, alive, self._dead_checks, strict=True
            )
        ]
        return least_useful(scores, self._left, target, self._min_width)

    def _left(self, widths: list[int]) -> float:
        """The measure with so many units alive."""
        return self._measure.left(widths, self._counted(widths))

    def _counted(self, widths: list[int]) -> list[int | None]:
        """Non-zeros of each layer with so many units alive; None for layers that run dense."""
        counted: list[int | None] = []
        for layer, count in zip(self.groups.layers, self._seen[1], strict=True):
            full = layer.weights(*self.groups.layer_widths(layer, self._seen[0]))
            share = layer.weights(*self.groups.layer_widths(layer, widths)) / max(1, full)
            sparse = self._by_weights or layer.kind == SPARSE
            counted.append(round(share * count) if sparse else None)
        return counted

    def _meet_target(self) -> None:
        """Remove what is over the target, and keep all zeros from now on."""
        if self._by_weights:
            cut = _magnitude(self.groups, self._target)
            self._shrinker.shrink_weights(cut, cut)
        else:
            self._shrinker.remove(self._choose(self.groups.alive(), self._target))
        self._seen = self.groups.widths(), self.groups.nonzeros()
        self._masks = self._find_masks()

    def _find_masks(self) -> list[tuple[Tensor, Tensor]]:
        """Parameters, and 1 where they may change: in living units, or where weights are not 0."""
        masks: dict[Tensor, Tensor] = {}
        if self._by_weights:
            for weight in map(self.groups.weight, _prunable(self.groups)):
                masks[weight] = (weight != 0.0).float()
            return list(masks.items())
        for units in self.groups.units:
            alive = units.alive().float()
            for member in units.members:
                mask = masks.setdefault(member.parameter, torch.ones_like(member.parameter))
                mask *= member.spread(alive)
        return list(masks.items())


_NUMBERS = ("step", "lr", "cut", "path")
_TENSORS = ("doomed", "dead_checks", "saliences")
_LEAST_SCORE = 1e-30  # of a unit that lives, however useless


def _prunable(groups: Groups) -> list[LayerUse]:
    return [layer for layer in groups.layers if layer.prunable_elements]


def _magnitude(groups: Groups, left: float) -> float:
    """The size below which weights go, so that this part of all weights is left."""
    layers = _prunable(groups)
    sizes = torch.cat([groups.weight(layer).abs().flatten() for layer in layers])
    total = sum(groups.weight(layer).numel() for layer in groups.layers)
    kept = round(left * total) - (total - len(sizes))
    if kept <= 0:
        return float(sizes.max()) + 1.0
    return float(sizes.topk(min(kept, len(sizes))).values[-1])


def _check(name: str, value: float, least: float, most: float | None) -> None:
    if value < least or (most is not None and value > most):
        upper = "or more" if most is None else f"to {most:g}"
        raise InputError(f"{name} is {value}, wanted {least:g} {upper}")


def _measure(
    groups: Groups,
    time: Times | None,
    target_time: float | None,
    target_zeros: float | None,
    target_units: float | None,
) -> tuple[Measure, float]:
    """What is steered, and the part of it that shall be left."""
    given = {
        "target_time": target_time,
        "target_zeros": target_zeros,
        "target_units": target_units,
    }
    targets = {name: value for name, value in given.items() if value is not None}
    if len(targets) != 1:
        came = ", ".join(targets) or "none"
        raise InputError(f"wanted exactly one of {', '.join(given)}, came {came}")
    ((name, value),) = targets.items()
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} is {value}, wanted a part between 0 and 1")
    if name == "target_zeros":
        return WeightsLeft(groups), 1.0 - value
    if name == "target_units":
        return UnitsLeft(groups), value
    if time is None:
        raise InputError("target_time needs a time model; pass time=TimeModel.measure(groups)")
    return TimeLeft(groups, time), value
