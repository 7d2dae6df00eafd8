"""Which units matter least: their importance in their family, for what the family costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from espalier.fssl.groups.groups import Units
from espalier.fssl.shaping.targets import Times

PRICE_POWER = 0.25  # small, lest the dearest family shrink to its least width
_LEAST_PRICE = 1e-3  # of a family that costs no time, against the mean


def first_order(units: Units) -> Tensor:
    """What the loss would change, to first order, without each group: ``|sum w dL/dw|``.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.
    """
    sums = torch.zeros(units.size)
    for piece in units.slices:
        if piece.parameter.grad is not None:
            sums += piece.sums(piece.parameter.detach() * piece.parameter.grad)
    return sums.abs()


# By the names that `FSSLOptimizer` takes: how important each unit of a family is, ``[size]``.
CRITERIA: dict[str, Callable[[Units], Tensor]] = {
    "norm": Units.norms,
    "first_order": first_order,
}


def ranks(sizes: Tensor) -> Tensor:
    """The rank of each unit in its family, from the least, as a part of the family.

    Norms of several families compared with each other would empty a layer.

    >>> ranks(torch.tensor([0.5, 3.0, 0.0, 2.0])).tolist()
    [0.5, 1.0, 0.25, 0.75]
    """
    return (sizes.argsort(stable=True).argsort() + 1) / len(sizes)


def family_prices(
    counts: Sequence[Tensor], widths: Sequence[int], times: Times | None, mix: float
) -> list[float]:
    """What each family costs now, with a mean of 1: its share of weights and of time, mixed.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
        widths: units of now, at which marginal seconds are taken.
        mix: 0 for entries alone, 1 for time alone.

    >>> family_prices([torch.full((4,), 9.0), torch.full((8,), 3.0)], [4, 4], None, mix=0.5)
    [1.5, 0.5]
    """
    weights = _shares([float(each.mean()) for each in counts], widths)
    if times is None:
        return weights
    seconds = _shares(times.marginals(widths), widths)
    return [
        (1.0 - mix) * weight + mix * second for weight, second in zip(weights, seconds, strict=True)
    ]


def least_important(
    scores: Sequence[Tensor], left: Callable[[list[int]], float], target: float, min_width: int
) -> list[Tensor]:
    """The groups of least score without which the target holds.

    Arguments:
        scores: for each family ``[size]``; 0 for a group that is dead already.
        left: the measure with so many units of each family alive.
        min_width: units of the highest scores that each family keeps.

    Returns:
        for each family, bool ``[size]``, dead groups included.

    >>> scores = [torch.tensor([3.0, 1.0, 2.0, 0.0])]
    >>> least_important(scores, lambda widths: widths[0] / 4, 0.5, min_width=1)
    [tensor([False,  True, False,  True])]
    """
    limited = [score.clone() for score in scores]
    for score in limited:
        score[score.topk(min(min_width, len(score))).indices] = torch.inf
    sizes = [len(score) for score in scores]
    family = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    every = torch.cat(limited)
    order = every.argsort(stable=True)[: int(every.isfinite().sum())]

    def widths(removed: int) -> list[int]:
        gone = torch.bincount(family[order[:removed]], minlength=len(sizes)).tolist()
        return [size - count for size, count in zip(sizes, gone, strict=True)]

    low, high = int((every <= 0.0).sum()), len(order)
    while low < high:
        middle = (low + high) // 2
        if left(widths(middle)) <= target:
            high = middle
        else:
            low = middle + 1
    chosen = torch.zeros(len(every), dtype=torch.bool)
    chosen[order[:low]] = True
    return list(chosen.split(sizes))


def _shares(costs: Sequence[float], widths: Sequence[int]) -> list[float]:
    """Cost times width of each family, with a mean of 1, and never nothing."""
    products = [cost * width for cost, width in zip(costs, widths, strict=True)]
    mean = sum(products) / len(products)
    return [max(each / mean, _LEAST_PRICE) if mean > 0.0 else 1.0 for each in products]
