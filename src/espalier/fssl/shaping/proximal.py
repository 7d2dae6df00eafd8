"""The proximal step of a sparse-group lasso, for plain and for adaptive step sizes.

It minimises ``1/2 |D^(1/2) (w - v)|^2 + |t . w|_1 + sum_g s_g |w_g|_2`` over one family
of groups that do not overlap: `soft_threshold` first, then the groups. What is small enough becomes
exactly 0. Source: for plain steps Simon et al., "A Sparse-Group Lasso", 2013; for adaptive ones Yun
et al., "Adaptive Proximal Gradient Methods for Structured Neural Networks", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from espalier.fssl.groups.groups import Groups, Units
from espalier.fssl.groups.slices import ParameterSlice

# State of torch's optimisers: what a removed unit would remember, and Adam's metric.
MOMENTA = ("momentum_buffer", "exp_avg")
ADAPTIVE = "exp_avg_sq"
_NEWTON_STEPS = 12


class ProximalStep:
    """The proximal step of the fused loss, in the metric of the model's optimiser.

    The loss is ``CE + lambda sum_g omega_g |W_g|_2`` over the groups that the budget has no room
    for. The paper (Wang et al., HPEC 2019, section II) names its three terms, error, sparsity and
    processing time, and gives no formula; this one is ours.

    Arguments:
        base: the optimiser whose steps these follow.
        counts: entries of each group, ``[size]`` for each family.
    """

    def __init__(self, base: Optimizer, groups: Groups, counts: Sequence[Tensor]) -> None:
        self._base, self._groups = base, groups
        self._omega = group_weights(counts)

    def critical_lambda(self, lr: float, to_prune: Sequence[Tensor]) -> float:
        """The strength of which one step would take the median of these groups; 0 for none."""
        ratios = []
        for units, omega, chosen in zip(self._groups.units, self._omega, to_prune, strict=True):
            sizes = self._sizes(units, lr) / omega
            ratios.append(sizes[chosen & (sizes > 0.0)])
        every = torch.cat(ratios)
        return float(every.median()) if len(every) else 0.0

    def on_groups(
        self, strength: float, lr: float, to_prune: Sequence[Tensor], *, backwards: bool
    ) -> None:
        """One proximal step on some groups.

        Families overlap in the weights between them, so they follow each other: forwards and
        backwards in alternation, as one order alone would favour its last.

        Arguments:
            strength: lambda.
            lr: the sum of the step sizes since the last proximal step.
            to_prune: for each family, bool ``[size]``, the groups that are penalised.
        """
        order = range(len(self._groups.units))
        for index in reversed(order) if backwards else order:
            thresholds = strength * self._omega[index] * to_prune[index]
            self._on_units(self._groups.units[index], thresholds, lr)

    def on_weights(self, step: float, to_prune: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Move some weights towards 0 by `step`.

        Arguments:
            to_prune: parameters, each with a tensor of its shape: 1 for weights that are penalised,
                else 0.
        """
        for weight, chosen in to_prune:
            weight.lerp_(soft_threshold(weight, step), chosen)

    def remove(self, to_prune: Sequence[Tensor]) -> None:
        """Set some groups to 0."""
        for units, chosen in zip(self._groups.units, to_prune, strict=True):
            units.scale_((~chosen).float())
            self._clear_momenta(units.slices, ~chosen)

    def _on_units(self, units: Units, thresholds: Tensor, lr: float) -> None:
        if not self._adapts(units):
            factors = group_factors(units.norms(), lr * thresholds)
            units.scale_(factors)
            self._clear_momenta(units.slices, factors > 0.0)
            return
        curvatures = self._curvatures(units, lr)
        norms = adaptive_norms(units.slices, curvatures, thresholds)
        for piece, d in zip(units.slices, curvatures, strict=True):
            scaled = piece.spread(norms) * d
            whole = (scaled + piece.spread(thresholds)).clamp_min(torch.finfo(d.dtype).tiny)
            piece.parameter.mul_(scaled / whole)
        self._clear_momenta(units.slices, norms > 0.0)

    def _clear_momenta(self, slices: Sequence[ParameterSlice], alive: Tensor) -> None:
        """Take removed units out of the optimiser's momenta."""
        if alive.all():
            return
        for piece in slices:
            for name in MOMENTA:
                momentum = self._state_of(piece.parameter).get(name)
                if momentum is not None:
                    momentum.mul_(piece.spread(alive))

    def _sizes(self, units: Units, lr: float) -> Tensor:
        """The threshold at which each group vanishes in one step, ``[size]``."""
        if not self._adapts(units):
            return units.norms() / lr
        squares = torch.zeros(units.size)
        for piece, d in zip(units.slices, self._curvatures(units, lr), strict=True):
            squares += piece.sums((piece.parameter * d).square())
        return squares.sqrt()

    def _adapts(self, units: Units) -> bool:
        return all(ADAPTIVE in self._state_of(piece.parameter) for piece in units.slices)

    def _state_of(self, parameter: Tensor) -> Any:
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


def group_weights(counts: Sequence[Tensor]) -> list[Tensor]:
    """``omega``, the square root of the size of each group, with a mean of 1.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
    """
    roots = [each.sqrt() for each in counts]
    mean = torch.cat(roots).mean()
    return [each / mean for each in roots]


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """Move each value towards 0 by the threshold, and no further.

    >>> soft_threshold(torch.tensor([1.0, -0.2, -3.0]), 0.5).tolist()
    [0.5, 0.0, -2.5]
    """
    return values - values.clamp(-threshold, threshold)


def group_factors(norms: Tensor, thresholds: Tensor) -> Tensor:
    """By what each group is multiplied when its norm shrinks by its threshold.

    Arguments:
        norms, thresholds: ``[groups]``.

    >>> group_factors(torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 0.0])).tolist()
    [0.75, 0.0, 0.0]
    """
    return torch.where(norms > thresholds, 1.0 - thresholds / norms, 0.0)


def adaptive_norms(
    slices: Sequence[ParameterSlice],
    curvatures: Sequence[Tensor],
    thresholds: Tensor,
) -> Tensor:
    """The norm of each group after its step, when every entry has a step size of its own.

    With ``d`` the inverse step sizes, a group ``u`` becomes 0 if ``|d u| <= s``; otherwise its
    entries become ``r d u / (r d + s)``, where ``r``, their norm, is the root of
    ``sum (d u / (r d + s))^2 = 1``.

    Arguments:
        slices: where the groups' entries ``u`` lie.
        curvatures: ``d`` of each piece, shaped like its parameter.
        thresholds: ``s``, ``[groups]``, at least 0.

    Returns:
        ``r``, ``[groups]``, 0 for a group that vanishes.
    """
    entries = list(zip(slices, curvatures, strict=True))
    scaled = [piece.parameter.detach() * d for piece, d in entries]

    def total(terms: Iterable[Tensor]) -> Tensor:
        sums = torch.zeros_like(thresholds)
        for piece, term in zip(slices, terms, strict=True):
            sums += piece.sums(term)
        return sums

    lives = total(du.square() for du in scaled).sqrt() > thresholds
    norms = total(piece.parameter.detach().square() for piece in slices).sqrt()
    # 1 / |d u / (r d + s)| is concave in r: Newton's first step from above lands below the root,
    # and from there they rise to it.
    for _ in range(_NEWTON_STEPS):
        below = [piece.spread(norms) * d + piece.spread(thresholds) for piece, d in entries]
        squares = [(du / under).square() for du, under in zip(scaled, below, strict=True)]
        size = total(squares).sqrt()
        slopes = zip(squares, curvatures, below, strict=True)
        slope = total(square * d / under for square, d, under in slopes)
        norms = (norms + (size - 1.0) * size.square() / slope).clamp_min(0.0)
        norms = torch.where(lives, norms, 0.0)
    return norms
