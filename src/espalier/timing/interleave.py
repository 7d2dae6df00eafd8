"""Time some works in turns and keep the least of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 12
# The two fastest of a steady machine differ by less.
_STEADY = 1.25
_TOO_SHORT = 5e-5


def least_seconds(
    works: Sequence[Callable[[], object]],
    *,
    rounds: tuple[int, int] = (_LEAST_ROUNDS, _MOST_ROUNDS),
    ratio: float = _STEADY,
    slack: float = _TOO_SHORT,
    agree: int = 2,
    warm_below: float = 0.0,
    clock: Callable[[], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[float], list[bool]]:
    """The least seconds that each work took, called in turns, and whether each was seen twice.

    A slow moment of the machine hits all works of a turn alike. A work is called until its
    fastest turns agree.

    Arguments:
        works: each call does the whole work once; the first call is a warm-up.
        rounds: timed turns, at least and at most; `agree` or more.
        ratio: the two fastest agree when the second takes less than this times the first,
        slack: or less than these seconds more.
        agree: so many turns must agree before a work is called no more. On a restless machine two
            of them often do so by chance, while it is slow.
        warm_below: works of fewer seconds get a call that is not timed before each that is, so
            that caches hold their own data.
        clock: tells seconds, in place of the time on the wall.
        progress: called with (done, most) rounds.

    >>> seconds, steady = least_seconds([lambda: sum(range(9)), lambda: len("abc")])
    >>> len(seconds), len(steady)
    (2, 2)
    """
    least, most = rounds
    times: list[list[float]] = [[] for _ in works]
    last = [math.inf] * len(works)
    now = clock or perf_counter

    def is_steady(seconds: list[float], agree: int = 2) -> bool:
        fastest, *_, last = sorted(seconds)[:agree]
        return last < max(ratio * fastest, fastest + slack)

    pending = list(range(len(works)))
    for turn in range(most + 1):
        for each in pending:
            if turn and last[each] < warm_below:
                works[each]()
            start = now()
            works[each]()
            last[each] = now() - start
            if turn:
                times[each].append(last[each])
        if progress is not None:
            progress(turn, most)
        if turn >= least:
            pending = [each for each in pending if not is_steady(times[each], agree)]
        if not pending:
            break
    if progress is not None:
        progress(most, most)
    return [min(seconds) for seconds in times], [is_steady(seconds) for seconds in times]
