"""How much is left at each moment of the shaping, and how strong the penalty is, to follow that."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 0.05  # part of the steps before the first group is penalised
PACE = 15  # proximal steps in which a usual penalised group shrinks to nothing
_BEHIND, _HARDER, _SOFTER = 1.02, 1.25, 0.9


def cubic_sparsity(final: float, done: float) -> float:
    """The part that is removed when `done`, 0 ... 1, of the steps are over: first fast, then slow.

    Source: Zhu and Gupta, "To Prune, or Not to Prune", 2017.

    >>> cubic_sparsity(0.8, 0.0), round(cubic_sparsity(0.8, 0.5), 6), cubic_sparsity(0.8, 1.0)
    (0.0, 0.7, 0.8)
    """
    return final * (1.0 - (1.0 - done) ** 3)


def scheduled(target: float, done: float) -> float:
    """The part of the measure that should be left when `done`, 0 ... 1, of the steps are over.

    >>> scheduled(0.2, 0.0), round(scheduled(0.2, 1.0), 6)
    (1.0, 0.2)
    """
    progress = max(0.0, done - WARM_UP) / (1.0 - WARM_UP)
    return 1.0 - cubic_sparsity(1.0 - target, progress)


@dataclass
class Strength:
    """Lambda, such that penalised groups vanish at the pace of the path.

    Attributes:
        value: lambda.
        boost: over what the pace alone asks for; rises while the network is behind its path.
    """

    value: float = 0.0
    boost: float = 1.0

    def update(self, critical: float, left: float, path: float) -> None:
        """Take a new strength.

        Arguments:
            critical: the strength of which one step would take a usual penalised group.
            left, path: the measure, and what was scheduled for it by now.
        """
        behind = left > _BEHIND * path
        self.boost = max(1.0, self.boost * (_HARDER if behind else _SOFTER))
        self.value = self.boost * critical / PACE
