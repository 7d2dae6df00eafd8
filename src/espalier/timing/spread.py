"""What interleaved rounds came to: their median, their extremes, and ratios round by round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """One number per round, in order; seconds, or ratios of seconds.

    >>> Spread((1.2, 1.0, 1.1)).median
    1.1
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return float(np.median(self.rounds))

    @property
    def low(self) -> float:
        """The lowest round."""
        return min(self.rounds)

    @property
    def high(self) -> float:
        """The highest round."""
        return max(self.rounds)

    def over(self, other: Spread) -> Spread:
        """This divided by another, round by round, over the rounds that both have.

        >>> Spread((4.0, 9.0)).over(Spread((2.0, 3.0, 5.0))).rounds
        (2.0, 3.0)
        """
        pairs = zip(self.rounds, other.rounds, strict=False)
        return Spread(tuple(mine / theirs for mine, theirs in pairs))

    def times(self, factor: float) -> Spread:
        """Every round times a number.

        >>> Spread((1.0, 2.0)).times(3.0).rounds
        (3.0, 6.0)
        """
        return Spread(tuple(value * factor for value in self.rounds))

    def to_dict(self) -> dict[str, float | list[float]]:
        """Median, lowest, highest and all rounds, as JSON values."""
        return {
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "rounds": list(self.rounds),
        }
