"""What each group weighs in the fused loss, and what families of units cost in weights and time.

The fused loss is ``CE + lambda sum_g omega_g |W_g|_2`` over the groups that the budget has no room
for. The paper (Wang et al., HPEC 2019, section II) names its three terms, error, sparsity and
processing time, and gives no formula; this one is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

_LEAST_PRICE = 1e-3  # of a family that costs no time, against the mean


class Times(Protocol):
    """What shaping asks of a `TimeModel`."""

    def seconds(self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None) -> float:
        """Predicted seconds of a batch."""
        ...

    def marginals(self, widths: Sequence[int]) -> list[float]:
        """Seconds saved by each unit removed, for each family."""
        ...


def group_weights(counts: Sequence[Tensor]) -> list[Tensor]:
    """``omega``, the square root of the size of each group, with a mean of 1.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
    """
    roots = [each.sqrt() for each in counts]
    mean = torch.cat(roots).mean()
    return [each / mean for each in roots]


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


def _shares(costs: Sequence[float], widths: Sequence[int]) -> list[float]:
    """Cost times width of each family, with a mean of 1, and never nothing."""
    products = [cost * width for cost, width in zip(costs, widths, strict=True)]
    mean = sum(products) / len(products)
    return [max(each / mean, _LEAST_PRICE) if mean > 0.0 else 1.0 for each in products]
