"""The proximal step of the fused loss, applied to a model in the metric of its optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from espalier.fssl.groups.groups import Groups, Units
from espalier.fssl.groups.slices import ParameterSlice
from espalier.fssl.shaping.penalty import group_weights
from espalier.fssl.shaping.proximal import adaptive_norms, group_factors, soft_threshold

# State of torch's optimisers: what a removed unit would remember, and Adam's metric.
MOMENTA = ("momentum_buffer", "exp_avg")
ADAPTIVE = "exp_avg_sq"


def learnt(base: Optimizer) -> set[Tensor]:
    """The parameters that an optimiser changes."""
    return {
        parameter
        for group in base.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    }


class Shrinker:
    """Shrinks groups towards exact zeros, and single weights too.

    Arguments:
        base: the optimiser whose steps these follow.
        counts: entries of each group, ``[size]`` for each family.
    """

    def __init__(self, base: Optimizer, groups: Groups, counts: Sequence[Tensor]) -> None:
        self._base, self._groups = base, groups
        self._omega = group_weights(counts)

    def fatal_strength(self, lr: float, doomed: Sequence[Tensor]) -> float:
        """The strength of which one step would take the median of these groups; 0 for none."""
        ratios = []
        for units, omega, chosen in zip(self._groups.units, self._omega, doomed, strict=True):
            sizes = self._sizes(units, lr) / omega
            ratios.append(sizes[chosen & (sizes > 0.0)])
        every = torch.cat(ratios)
        return float(every.median()) if len(every) else 0.0

    def shrink(
        self, strength: float, lr: float, doomed: Sequence[Tensor], *, backwards: bool
    ) -> None:
        """One proximal step on some groups.

        Families overlap in the weights between them, so they take turns: forwards and backwards
        in alternation, as one order alone would favour its last.

        Arguments:
            strength: lambda.
            lr: the sum of the step sizes since the last proximal step.
            doomed: for each family, bool ``[size]``, the groups that are penalised.
        """
        order = range(len(self._groups.units))
        for index in reversed(order) if backwards else order:
            thresholds = strength * self._omega[index] * doomed[index]
            self._shrink_units(self._groups.units[index], thresholds, lr)

    def shrink_weights(self, step: float, doomed: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Move some weights towards 0 by `step`.

        Arguments:
            doomed: parameters, each with a tensor of its shape: 1 for weights that are penalised,
                else 0.
        """
        for weight, chosen in doomed:
            weight.lerp_(soft_threshold(weight, step), chosen)

    def remove(self, doomed: Sequence[Tensor]) -> None:
        """Set some groups to 0."""
        for units, chosen in zip(self._groups.units, doomed, strict=True):
            units.scale_((~chosen).float())
            self._forget(units.slices, ~chosen)

    def _shrink_units(self, units: Units, thresholds: Tensor, lr: float) -> None:
        if not self._adapts(units):
            factors = group_factors(units.norms(), lr * thresholds)
            units.scale_(factors)
            self._forget(units.slices, factors > 0.0)
            return
        curvatures = self._curvatures(units, lr)
        norms = adaptive_norms(units.slices, curvatures, thresholds)
        for piece, d in zip(units.slices, curvatures, strict=True):
            scaled = piece.spread(norms) * d
            whole = (scaled + piece.spread(thresholds)).clamp_min(torch.finfo(d.dtype).tiny)
            piece.parameter.mul_(scaled / whole)
        self._forget(units.slices, norms > 0.0)

    def _forget(self, slices: Sequence[ParameterSlice], lives: Tensor) -> None:
        """Take removed units out of the optimiser's momenta."""
        if lives.all():
            return
        for piece in slices:
            for name in MOMENTA:
                momentum = self._remembered(piece.parameter).get(name)
                if momentum is not None:
                    momentum.mul_(piece.spread(lives))

    def _sizes(self, units: Units, lr: float) -> Tensor:
        """The threshold at which each group vanishes in one step, ``[size]``."""
        if not self._adapts(units):
            return units.norms() / lr
        squares = torch.zeros(units.size)
        for piece, d in zip(units.slices, self._curvatures(units, lr), strict=True):
            squares += piece.sums((piece.parameter * d).square())
        return squares.sqrt()

    def _adapts(self, units: Units) -> bool:
        return all(ADAPTIVE in self._remembered(piece.parameter) for piece in units.slices)

    def _remembered(self, parameter: Tensor) -> Any:
        """What the base knows of a parameter; asking makes no entry in its state."""
        return self._base.state.get(parameter, {})

    def _curvatures(self, units: Units, lr: float) -> list[Tensor]:
        return [self._curvature(piece.parameter, lr) for piece in units.slices]

    def _curvature(self, parameter: Tensor, lr: float) -> Tensor:
        """The inverse of the step sizes that Adam's last steps gave each entry."""
        state = self._base.state[parameter]
        group = next(
            group
            for group in self._base.param_groups
            if any(each is parameter for each in group["params"])
        )
        corrected = state[ADAPTIVE] / (1.0 - group["betas"][1] ** float(state["step"]))
        curvature: Tensor = (corrected.sqrt() + group["eps"]) / lr
        return curvature
