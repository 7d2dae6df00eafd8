"""Time works in rounds, A B A B ..., so that a slow moment of the machine hits them all alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter, sleep
from typing import TypeVar

from espalier.errors import InputError
from espalier.progress import Progress
from espalier.timing.spread import Spread

Key = TypeVar("Key")
Measured = TypeVar("Measured")
Work = Callable[[], object]  # does the whole work once

ROUNDS = 7
# OpenMP threads of one library spin for some milliseconds after its work and would slow down the
# next one.
SETTLE = 0.02
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 12
# The two fastest rounds of a steady machine differ by less.
_STEADY = 1.25
_TOO_SHORT = 5e-5


def interleave(
    measures: Mapping[Key, Callable[[], Measured]],
    rounds: int,
    *,
    warm_ups: int = 1,
    is_done: Callable[[Key, list[Measured]], bool] = lambda key, measured: False,
    progress: Progress | None = None,
) -> dict[Key, list[Measured]]:
    """Call all in rounds, and return what the calls of each returned.

    Arguments:
        measures: each call does some work once and returns what it measured.
        rounds: at most.
        warm_ups: rounds before those; what they measure is thrown away.
        is_done: whether one that has measured all this is called no more.
        progress: called with (done, total) after every call.

    >>> interleave({"a": iter("123").__next__, "b": iter("456").__next__}, rounds=2)
    {'a': ['2', '3'], 'b': ['5', '6']}
    """
    measured: dict[Key, list[Measured]] = {key: [] for key in measures}
    pending = list(measures)
    done, total = 0, len(measures) * (warm_ups + rounds)
    for number in range(-warm_ups, rounds):
        pending = [key for key in pending if not is_done(key, measured[key])]
        if not pending:
            break
        done += len(measures) - len(pending)
        for key in pending:
            figure = measures[key]()
            if number >= 0:
                measured[key].append(figure)
            done += 1
            if progress is not None:
                progress(done, total)
    if progress is not None and done < total:
        progress(total, total)
    return measured


def time_interleaved(
    works: Mapping[str, Work],
    *,
    rounds: int | Mapping[str, int] = ROUNDS,
    warm_ups: int = 1,
    settle: float = SETTLE,
    at_least: float = 0.0,
    progress: Progress | None = None,
) -> dict[str, Spread]:
    """The seconds of every work, one number per round.

    Arguments:
        works: what to time, by name.
        rounds: timed rounds, at least 1; claims need 7 or more. A slow work may be given fewer
            than the others, by name; it then misses the last rounds.
        warm_ups: rounds before those, not timed.
        settle: seconds of rest before every timing; 0 where all share one OpenMP runtime.
        at_least: seconds of one timing. Shorter works are called several times for it, as in use,
            where the caches are not cold.
        progress: called with (done, total) after every timing.

    Raises:
        InputError: no work, no round, a negative number of warm-ups, or unknown names.

    >>> seconds = time_interleaved({"sum": lambda: sum(range(9)), "len": lambda: len("abc")})
    >>> len(seconds["sum"].over(seconds["len"]).rounds)
    7
    """
    if not works:
        raise InputError("works is empty, wanted something to time")
    wanted = dict.fromkeys(works, rounds) if isinstance(rounds, int) else dict(rounds)
    if wanted.keys() != works.keys():
        raise InputError(f"rounds names {sorted(wanted)}, wanted {sorted(works)}")
    if min(wanted.values()) < 1 or warm_ups < 0:
        raise InputError(
            f"rounds is {rounds} and warm_ups {warm_ups}, wanted at least 1 and at least 0"
        )
    calls = {name: _calls_in(at_least, work) if at_least else 1 for name, work in works.items()}
    seconds = interleave(
        {
            name: _timed(partial(_repeat, work, calls[name]) if at_least else work, settle=settle)
            for name, work in works.items()
        },
        max(wanted.values()),
        warm_ups=warm_ups,
        is_done=lambda name, timed: len(timed) >= wanted[name],
        progress=progress,
    )
    return {name: Spread(tuple(each)).times(1.0 / calls[name]) for name, each in seconds.items()}


def minimum_seconds(
    works: Sequence[Work],
    *,
    rounds: tuple[int, int] = (_LEAST_ROUNDS, _MOST_ROUNDS),
    ratio: float = _STEADY,
    slack: float = _TOO_SHORT,
    agree: int = 2,
    warm_below: float = 0.0,
    clock: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> tuple[list[float], list[bool]]:
    """The least seconds that each work took, and whether its two fastest rounds agree.

    A work is called until its fastest rounds agree.

    Arguments:
        works: the first call of each is a warm-up.
        rounds: timed rounds, at least and at most; `agree` or more.
        ratio, slack: as in `fastest_agree`.
        agree: so many rounds must agree before a work is called no more. On a restless machine two
            of them often do so by chance, while it is slow.
        warm_below: works of fewer seconds get a call that is not timed before each that is, so
            that caches hold their own data.
        clock: tells seconds, in place of the time on the wall.
        progress: called with (done, most) rounds.

    >>> seconds, steady = minimum_seconds([lambda: sum(range(9)), lambda: len("abc")])
    >>> len(seconds), len(steady)
    (2, 2)
    """
    least, most = rounds

    def is_done(_: int, seconds: list[float]) -> bool:
        return len(seconds) >= least and fastest_agree(seconds, ratio, slack, agree)

    def count_rounds(done: int, total: int) -> None:
        if progress is not None and done % len(works) == 0:
            progress(done // len(works) - 1, most)

    measures = [_timed(work, clock=clock, warm_below=warm_below) for work in works]
    seconds = interleave(
        dict(enumerate(measures)), most, is_done=is_done, progress=count_rounds
    ).values()
    return [min(each) for each in seconds], [fastest_agree(each, ratio, slack) for each in seconds]


def fastest_agree(
    seconds: Sequence[float], ratio: float, slack: float = 0.0, agree: int = 2
) -> bool:
    """Whether so many of the fastest rounds differ by little.

    Arguments:
        ratio: the last of them takes less than this times the first,
        slack: or less than these seconds more.

    >>> fastest_agree([1.04, 9.0, 1.0], ratio=1.05), fastest_agree([1.04, 9.0, 1.0], ratio=1.03)
    (True, False)
    """
    fastest, *_, last = sorted(seconds)[:agree]
    return last < max(ratio * fastest, fastest + slack)


def _timed(
    work: Work,
    *,
    clock: Callable[[], float] | None = None,
    settle: float = 0.0,
    warm_below: float = 0.0,
) -> Callable[[], float]:
    """A function that does the work once and returns its seconds."""
    now, last = clock or perf_counter, math.inf

    def measure() -> float:
        nonlocal last
        if settle:
            sleep(settle)
        if last < warm_below:
            work()
        start = now()
        work()
        last = now() - start
        return last

    return measure


def _calls_in(seconds: float, work: Work) -> int:
    """How many calls of a work take so long; the first one is a warm-up."""
    work()
    return max(1, math.ceil(seconds / _timed(work)()))


def _repeat(work: Work, calls: int) -> None:
    for _ in range(calls):
        work()
