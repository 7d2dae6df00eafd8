"""Seconds of short works: a turn is several calls, as in use, where a cache is not cold."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.harness.timing import SETTLE, Spread, time_in_turns
from espalier.progress import Progress

TURN = 0.02  # seconds

Work = Callable[[], object]


def race(
    works: Mapping[str, Work], rounds: int, progress: Progress, *, settle: float = SETTLE
) -> dict[str, Spread]:
    """Seconds of one call of every work, all in turns of some calls each.

    Arguments:
        rounds: turns of each.
        settle: seconds of rest before every turn; 0 where all share one OpenMP runtime.

    >>> seconds = race({"sum": lambda: sum(range(99))}, 2, lambda done, total: None)
    >>> 0.0 < seconds["sum"].median < 1e-3
    True
    """
    counts = {name: _calls_a_turn(work) for name, work in works.items()}
    turns = {name: partial(_repeat, work, counts[name]) for name, work in works.items()}
    seconds = time_in_turns(turns, rounds=rounds, settle=settle, progress=progress)
    return {name: spread.times(1.0 / counts[name]) for name, spread in seconds.items()}


def _calls_a_turn(work: Work) -> int:
    work()
    start = time.perf_counter()
    work()
    return max(1, int(TURN / (time.perf_counter() - start)))


def _repeat(work: Work, count: int) -> None:
    for _ in range(count):
        work()
