"""The exact proximal step of a sparse-group lasso, for plain and for adaptive step sizes.

Each function minimises ``1/2 |D^(1/2) (w - v)|^2 + |t . w|_1 + sum_g s_g |w_g|_2`` over one family
of groups that do not overlap: `soft_threshold` first, then the groups. What is small enough becomes
exactly 0. Source: for plain steps Simon et al., "A Sparse-Group Lasso", 2013; for adaptive ones Yun
et al., "Adaptive Proximal Gradient Methods for Structured Neural Networks", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espalier.fssl.groups.slices import ParameterSlice

_NEWTON_STEPS = 12


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
