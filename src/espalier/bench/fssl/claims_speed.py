"""Claims on speed: compact networks against unstructured and dense ones of equal error.

Equal error is what all may have, not what they happen to have: of each kind the fastest network
takes part whose mean error is at most 0.2 points over that of the dense one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from espalier.bench.fssl.asked import every_seed
from espalier.bench.fssl.claim import WITHIN, claim
from espalier.bench.fssl.claims_size import MOST_WEIGHTS, weights_goal
from espalier.bench.fssl.entrants import FORMS, START, Case, Entrant, Race, run_race
from espalier.bench.fssl.goals import DENSE, FSSL, MAGNITUDE, Goal
from espalier.bench.fssl.settings import LENET_5, Settings
from espalier.bench.fssl.trials import Trials
from espalier.bench.section import Record
from espalier.bench.watch import Watch

SMALL_BATCH = 256
LENET_5_ERROR = 0.010


class Aim(NamedTuple):
    """How much faster than whom."""

    what: str
    least: float
    error: str  # at most, in words


OVER_CSR = Aim("compact over unstructured", 2.0, "0.2 points over dense")
OVER_DENSE = Aim("compact over dense", 3.0, "0.2 points over dense")
OVER_LENET_5 = Aim("compact LeNet-5 over dense", 5.0, f"{LENET_5_ERROR:.1%}")


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
    rivals = {
        f"{OVER_CSR.what}, {form}": race.fastest(entrants, (settings.batch, 1))
        for form, entrants in by_form.items()
    }
    return [
        *(
            _compared(settings, OVER_CSR._replace(what=what), chosen, rival, race, case)
            for what, rival in rivals.items()
            for case in _cases(settings, (settings.batch,))
        ),
        *(_compared(settings, OVER_DENSE, chosen, dense, race, case) for case in cases),
    ]


def lenet5(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """The fastest compact LeNet-5 of at most 1 % error, against the dense one."""
    goals = [Goal("time", value) for value in settings.lenet5_times]
    compact = _entrants(settings, trials, FSSL, goals, watch, LENET_5)
    dense = Entrant(compact[0].made, START)
    cases = _cases(settings, (settings.batch,))
    race = run_race(settings, trials, [dense, *compact], cases, watch)
    chosen = race.fastest(_within(LENET_5_ERROR, compact), cases[0])
    return [_compared(settings, OVER_LENET_5, chosen, dense, race, case) for case in cases]


def _compared(
    settings: Settings, aim: Aim, fast: Entrant | None, slow: Entrant | None, race: Race, case: Case
) -> Record:
    batch, threads = case
    what = f"{aim.what}, batch {batch:,}, {threads} threads"
    aimed = f"at least {aim.least:g}x at {aim.error}"
    if fast is None or slow is None:
        who = "compact" if fast is None else "unstructured"
        return claim(settings, what, aimed, f"no {who} network of that error", False)
    ratio = race.ratio(slow, fast, case)
    found = f"{ratio['mean']:.2f}x: {fast.told} over {slow.told}"
    return claim(settings, what, aimed, found, ratio["mean"] >= aim.least, ratio=ratio)


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
    return [each for each in entrants if each.error <= limit]


def _cases(settings: Settings, batches: Sequence[int]) -> list[Case]:
    return [(batch, threads) for batch in batches for threads in settings.forward_threads]
