"""Which groups the penalty is on, and how strong it is, so that the network follows a path.

The penalty is trimmed: it leaves alone the groups that the budget of the moment has room for and
takes the others to zero, so that what stays is not shrunk for nothing. Source of trimming: Yun,
Lozano, Yang, "Trimming the l1 Regularizer", ICML 2019, there for single weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WARM_UP = 0.05  # part of the steps before the first group is penalised
PACE = 15  # proximal steps in which a usual penalised group shrinks to nothing
_BEHIND, _HARDER, _SOFTER = 1.02, 1.25, 0.9


def wanted(target: float, done: float) -> float:
    """The part of the measure that should be left when `done`, 0 ... 1, of the steps are over.

    >>> wanted(0.2, 0.0), round(wanted(0.2, 1.0), 6)
    (1.0, 0.2)
    """
    progress = max(0.0, done - WARM_UP) / (1.0 - WARM_UP)
    return 1.0 - (1.0 - target) * (1.0 - (1.0 - progress) ** 3)


def least_useful(
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
    >>> least_useful(scores, lambda widths: widths[0] / 4, 0.5, min_width=1)
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


@dataclass
class Strength:
    """Lambda, such that penalised groups vanish at the pace of the path.

    Attributes:
        value: lambda.
        boost: over what the pace alone asks for; rises while the network is behind its path.
    """

    value: float = 0.0
    boost: float = 1.0

    def set(self, fatal: float, left: float, path: float) -> None:
        """Take a new strength.

        Arguments:
            fatal: the strength of which one step would take a usual penalised group.
            left, path: the measure, and what was wanted of it by now.
        """
        behind = left > _BEHIND * path
        self.boost = max(1.0, self.boost * (_HARDER if behind else _SOFTER))
        self.value = self.boost * fatal / PACE
