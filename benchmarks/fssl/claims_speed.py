"""Claims on speed: compact networks against unstructured and dense ones of equal error.

Equal error is what all may have, not what they happen to have: of each kind the fastest network
takes part whose mean error is at most 0.2 points over that of the dense one. Where a kind has
none, its most accurate one takes part, and the claim does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.fssl.asked import every_seed
from benchmarks.fssl.claim import WITHIN, claim
from benchmarks.fssl.claims_size import MOST_WEIGHTS, weights_goal
from benchmarks.fssl.entrants import FORMS, START, Case, Entrant, Race, run_race
from benchmarks.fssl.goals import DENSE, FSSL, MAGNITUDE, Goal
from benchmarks.fssl.settings import LENET_5, Settings
from benchmarks.fssl.trials import Trials
from benchmarks.harness.section import Record
from espalier.progress import Watch

SMALL_BATCH = 256
THREADS = {1: "one thread", 2: "two threads"}
LENET_5_ERROR = 0.010


class Aim(NamedTuple):
    """How much faster than whom, with an error of at most so much."""

    what: str
    least: float
    error: float


OVER_CSR, OVER_DENSE, OVER_LENET_5 = 2.0, 3.0, 5.0


def speed(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """The fastest compact network of kept accuracy, against CSR and dense."""
    dense = Entrant(tuple(every_seed(settings, trials, DENSE, None, watch)))
    limit = dense.error + WITHIN
    goals = [Goal("time", value) for value in settings.times]
    goals += [weights_goal(count) for count, _ in MOST_WEIGHTS]
    zeros = [Goal("zeros", value) for value in settings.zeros]
    compact = _within(limit, _entrants(settings, trials, FSSL, goals, watch))
    sparse = _within(limit, _entrants(settings, trials, MAGNITUDE, zeros, watch))
    by_form = {form: [Entrant(each.made, form) for each in sparse] for form in FORMS}
    cases = _cases(settings, (SMALL_BATCH, settings.batch))
    everybody = [dense, *compact, *(each for form in by_form.values() for each in form)]
    race = run_race(settings, trials, everybody, cases, watch)
    chosen = race.fastest(compact, (settings.batch, 1))
    rivals = {form: race.fastest(each, (settings.batch, 1)) for form, each in by_form.items()}
    return [
        *(
            _compared(
                settings,
                Aim(f"compact over unstructured, {form}", OVER_CSR, limit),
                chosen,
                rival,
                race,
                case,
            )
            for form, rival in rivals.items()
            for case in _cases(settings, (settings.batch,))
        ),
        *(
            _compared(
                settings, Aim("compact over dense", OVER_DENSE, limit), chosen, dense, race, case
            )
            for case in cases
        ),
    ]


def lenet5(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """The fastest compact LeNet-5 of at most 1 % error, against the dense one."""
    goals = [Goal("time", value) for value in settings.lenet5_times]
    compact = _entrants(settings, trials, FSSL, goals, watch, LENET_5)
    dense = Entrant(compact[0].made, START)
    cases = _cases(settings, (settings.batch,))
    race = run_race(settings, trials, [dense, *compact], cases, watch)
    chosen = race.fastest(_within(LENET_5_ERROR, compact), cases[0])
    aim = Aim("compact LeNet-5 over dense", OVER_LENET_5, LENET_5_ERROR)
    return [_compared(settings, aim, chosen, dense, race, case) for case in cases]


def _compared(
    settings: Settings, aim: Aim, fast: Entrant, slow: Entrant, race: Race, case: Case
) -> Record:
    batch, threads = case
    ratio = race.ratio(slow, fast, case)
    equal = max(fast.error, slow.error) <= aim.error
    return claim(
        settings,
        f"{aim.what}, batch {batch:,}, {THREADS[threads]}",
        f"at least {aim.least:g}x, at most {aim.error:.2%} error",
        f"{ratio['mean']:.2f}x: {fast.told} over {slow.told}",
        equal and ratio["mean"] >= aim.least,
        ratio=ratio,
        equal_error=equal,
    )


def _entrants(
    settings: Settings,
    trials: Trials,
    method: str,
    goals: Sequence[Goal],
    watch: Watch,
    model: str | None = None,
) -> list[Entrant]:
    return [
        Entrant(tuple(every_seed(settings, trials, method, goal, watch, model))) for goal in goals
    ]


def _within(limit: float, entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those of at most this error; without any, the most accurate one."""
    allowed = [each for each in entrants if each.error <= limit]
    return allowed or [min(entrants, key=lambda each: each.error)]


def _cases(settings: Settings, batches: Sequence[int]) -> list[Case]:
    return [(batch, threads) for batch in batches for threads in settings.forward_threads]
