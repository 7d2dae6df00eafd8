"""What each group weighs in the fused loss: by its size, and by the time that it costs.

The fused loss is ``CE + lambda sum_g omega_g |W_g|_2`` over the groups that the budget has no room
for. The paper (Wang et al., HPEC 2019, section II) names its three terms, error, sparsity and
processing time, and gives no formula; this one is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from espalier.fssl.groups import Groups

_LEAST_PRICE = 1e-3  # of a unit that costs no time, against the mean


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


def unit_prices(
    groups: Groups,
    counts: Sequence[Tensor],
    widths: Sequence[int],
    times: Times | None,
    mix: float,
) -> list[Tensor]:
    """What a unit costs, ``[size]`` for each family: its share of weights and of time, mixed.

    Arguments:
        counts: entries of each group, ``[size]`` for each family.
        widths: units of now, at which marginal seconds are taken.
        mix: 0 for entries alone, 1 for time alone.
    """
    mean = torch.cat(list(counts)).mean()
    prices = [each / mean for each in counts]
    if times is None or mix == 0.0:
        return prices
    marginals = times.marginals(widths)
    total = sum(seconds * width for seconds, width in zip(marginals, widths, strict=True))
    if total <= 0.0:
        return prices
    average = total / sum(widths)
    return [
        (1.0 - mix) * price + mix * max(seconds / average, _LEAST_PRICE)
        for price, seconds in zip(prices, marginals, strict=True)
    ]
