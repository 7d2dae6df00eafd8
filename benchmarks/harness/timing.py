"""Timing in turns: A B A B ..., so that a slow moment of the machine hits everyone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from espalier.errors import InputError

ROUNDS = 7
# OpenMP threads of one library spin for some milliseconds after its work and would slow down the
# next contestant.
SETTLE = 0.02


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


def time_in_turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int | Mapping[str, int] = ROUNDS,
    warm_ups: int = 1,
    settle: float = SETTLE,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Spread]:
    """Time all contestants in turns, every one once per round.

    Arguments:
        contestants: what to call, by name; each call does the whole work once.
        rounds: timed rounds, at least 1; claims need 7 or more. A slow contestant may be given
            fewer than the others, by name; it then misses the last turns.
        warm_ups: rounds before those, not timed.
        settle: seconds of rest before every call; 0 where all share one OpenMP runtime.
        progress: called with (done, total) after every call.

    Returns:
        The seconds of every contestant, one number per round.

    Raises:
        InputError: no contestant, no round, a negative number of warm-ups, or unknown names.

    >>> seconds = time_in_turns({"sum": lambda: sum(range(9)), "len": lambda: len("abc")})
    >>> len(seconds["sum"].over(seconds["len"]).rounds)
    7
    """
    if not contestants:
        raise InputError("contestants is empty, wanted something to time")
    wanted = dict.fromkeys(contestants, rounds) if isinstance(rounds, int) else dict(rounds)
    if wanted.keys() != contestants.keys():
        raise InputError(f"rounds names {sorted(wanted)}, wanted {sorted(contestants)}")
    if min(wanted.values()) < 1 or warm_ups < 0:
        raise InputError(
            f"rounds is {rounds} and warm_ups {warm_ups}, wanted at least 1 and at least 0"
        )
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    total = warm_ups * len(contestants) + sum(wanted.values())
    done = 0
    for turn in range(-warm_ups, max(wanted.values())):
        for name, work in contestants.items():
            if turn >= wanted[name]:
                continue
            time.sleep(settle)
            start = time.perf_counter()
            work()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed)
            done += 1
            if progress is not None:
                progress(done, total)
    return {name: Spread(tuple(values)) for name, values in seconds.items()}
