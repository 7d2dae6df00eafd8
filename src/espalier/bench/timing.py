"""Timing in turns: A B A B ..., so that a slow moment of the machine hits everyone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espalier.errors import InputError

ROUNDS = 7


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
        return statistics.median(self.rounds)

    @property
    def low(self) -> float:
        """The lowest round."""
        return min(self.rounds)

    @property
    def high(self) -> float:
        """The highest round."""
        return max(self.rounds)

    def over(self, other: Spread) -> Spread:
        """This divided by another, round by round.

        >>> Spread((4.0, 9.0)).over(Spread((2.0, 3.0))).rounds
        (2.0, 3.0)
        """
        pairs = zip(self.rounds, other.rounds, strict=True)
        return Spread(tuple(mine / theirs for mine, theirs in pairs))

    def to_dict(self) -> dict[str, float | list[float]]:
        """Median, lowest, highest and all rounds, as JSON values."""
        return {
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "rounds": list(self.rounds),
        }


def time_in_turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    warm_ups: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Spread]:
    """Time all contestants in turns, every one once per round.

    Arguments:
        contestants: what to call, by name; each call does the whole work once.
        rounds: timed rounds, at least 1; claims need 7 or more.
        warm_ups: rounds before those, not timed.
        progress: called with (done, total) after every call.

    Returns:
        The seconds of every contestant, one number per round.

    Raises:
        InputError: no contestant, no round, or a negative number of warm-ups.

    >>> seconds = time_in_turns({"sum": lambda: sum(range(9)), "len": lambda: len("abc")})
    >>> len(seconds["sum"].over(seconds["len"]).rounds)
    7
    """
    if not contestants:
        raise InputError("contestants is empty, wanted something to time")
    if rounds < 1 or warm_ups < 0:
        raise InputError(
            f"rounds is {rounds} and warm_ups {warm_ups}, wanted at least 1 and at least 0"
        )
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    total = (warm_ups + rounds) * len(contestants)
    done = 0
    for turn in range(warm_ups + rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            elapsed = time.perf_counter() - start
            if turn >= warm_ups:
                seconds[name].append(elapsed)
            done += 1
            if progress is not None:
                progress(done, total)
    return {name: Spread(tuple(values)) for name, values in seconds.items()}
