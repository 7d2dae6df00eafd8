"""Claims on speed: compact networks against unstructured and dense ones of equal error.

Equal error is what all may have, not what they happen to have: of each kind the fastest network
takes part whose mean error is at most 0.2 points over that of the dense one. Where a kind has
none, its most accurate one takes part, and the claim does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.fssl.claim import WITHIN, claim
from benchmarks.fssl.claims_size import MOST_WEIGHTS, weights_target
from benchmarks.fssl.methods import DENSE, FSSL, MAGNITUDE, Target
from benchmarks.fssl.settings import LENET_5, Settings
from benchmarks.fssl.timed_networks import (
    BACKENDS,
    START,
    Case,
    ForwardTimes,
    TimedNetwork,
    time_networks,
)
from benchmarks.fssl.trials import Trials, every_seed
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
    dense = TimedNetwork(tuple(every_seed(settings, trials, DENSE, None, watch)))
    limit = dense.error + WITHIN
    targets = [Target("time", value) for value in settings.times]
    targets += [weights_target(count) for count, _ in MOST_WEIGHTS]
    zeros = [Target("zeros", value) for value in settings.zeros]
    compact = _within(limit, _networks(settings, trials, FSSL, targets, watch))
    sparse = _within(limit, _networks(settings, trials, MAGNITUDE, zeros, watch))
    by_backend = {
        backend: [TimedNetwork(each.made, backend) for each in sparse] for backend in BACKENDS
    }
    cases = _cases(settings, (SMALL_BATCH, settings.batch))
    every = [dense, *compact, *(each for backend in by_backend.values() for each in backend)]
    times = time_networks(settings, trials, every, cases, watch)
    chosen = times.fastest(compact, (settings.batch, 1))
    unstructured = {
        backend: times.fastest(each, (settings.batch, 1)) for backend, each in by_backend.items()
    }
    return [
        *(
            _compared(
                settings,
                Aim(f"compact over unstructured, {backend}", OVER_CSR, limit),
                chosen,
                other,
                times,
                case,
            )
            for backend, other in unstructured.items()
            for case in _cases(settings, (settings.batch,))
        ),
        *(
            _compared(
                settings, Aim("compact over dense", OVER_DENSE, limit), chosen, dense, times, case
            )
            for case in cases
        ),
    ]


def lenet5(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """The fastest compact LeNet-5 of at most 1 % error, against the dense one."""
    targets = [Target("time", value) for value in settings.lenet5_times]
    compact = _networks(settings, trials, FSSL, targets, watch, LENET_5)
    dense = TimedNetwork(compact[0].made, START)
    cases = _cases(settings, (settings.batch,))
    times = time_networks(settings, trials, [dense, *compact], cases, watch)
    chosen = times.fastest(_within(LENET_5_ERROR, compact), cases[0])
    aim = Aim("compact LeNet-5 over dense", OVER_LENET_5, LENET_5_ERROR)
    return [_compared(settings, aim, chosen, dense, times, case) for case in cases]


def _compared(
    settings: Settings,
    aim: Aim,
    fast: TimedNetwork,
    slow: TimedNetwork,
    times: ForwardTimes,
    case: Case,
) -> Record:
    batch, threads = case
    ratio = times.ratio(slow, fast, case)
    equal = max(fast.error, slow.error) <= aim.error
    return claim(
        settings,
        f"{aim.what}, batch {batch:,}, {THREADS[threads]}",
        f"at least {aim.least:g}x, at most {aim.error:.2%} error",
        f"{ratio['mean']:.2f}x: {fast.description} over {slow.description}",
        equal and ratio["mean"] >= aim.least,
        ratio=ratio,
        equal_error=equal,
    )


def _networks(
    settings: Settings,
    trials: Trials,
    method: str,
    targets: Sequence[Target],
    watch: Watch,
    model: str | None = None,
) -> list[TimedNetwork]:
    return [
        TimedNetwork(tuple(every_seed(settings, trials, method, target, watch, model)))
        for target in targets
    ]


def _within(limit: float, networks: Sequence[TimedNetwork]) -> list[TimedNetwork]:
    """Those of at most this error; without any, the most accurate one."""
    allowed = [each for each in networks if each.error <= limit]
    return allowed or [min(networks, key=lambda each: each.error)]


def _cases(settings: Settings, batches: Sequence[int]) -> list[Case]:
    return [(batch, threads) for batch in batches for threads in settings.forward_threads]
