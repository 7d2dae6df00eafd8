"""Claims: when they hold, and who is compared with whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fssl import claims_size, claims_speed
from benchmarks.fssl.claim import claim
from benchmarks.fssl.methods import DENSE, FSSL, MAGNITUDE, Target
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.timed_networks import TORCH, ForwardTimes, TimedNetwork
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trials import TrialResult
from benchmarks.harness.section import Record
from espalier.progress import silent

ON_MNIST = Settings(mnist="folder", seeds=2)
CASE = (1024, 1)


def made(method: str, target: Target | None, seed: int, **said: object) -> TrialResult:
    trial = Trial(method, target, seed, "mlp:300-100", "folder", 40, 1, 1024, "measured")
    return TrialResult(
        trial, {"of_weights": 266_200, "nonzeros": 0, "weights": 0, **said}, Path("none")
    )


class Told:
    """Trials whose results are known without training."""

    def __init__(self, figures: dict[str, dict[str, float]]) -> None:
        self.figures = figures

    def make(self, trial: Trial, watch: object) -> TrialResult:
        return made(trial.method, trial.target, trial.seed, **self.figures[trial.method])


@pytest.mark.parametrize(
    ("weights", "error", "holds"),
    [(26_000, 0.0160, True), (26_001, 0.0150, False), (20_000, 0.0161, False)],
)
def test_structured_holds_by_weights_and_error(weights: int, error: float, holds: bool) -> None:
    trials = Told({FSSL: {"weights": weights, "error": error}})
    first, _ = claims_size.structured(ON_MNIST, trials, silent)
    assert first["holds"] is holds
    assert first["found"] == f"{weights:,} at {100 * error:.2f} ± 0.00 %"


def test_compression_counts_nonzeros() -> None:
    trials = Told({FSSL: {"nonzeros": 4_700, "error": 0.018}})
    pass_, stretch = claims_size.with_csr(ON_MNIST, trials, silent)
    assert (pass_["holds"], stretch["holds"]) == (True, False)
    assert pass_["compression"]["mean"] == pytest.approx(266_200 / 4_700)


@pytest.mark.parametrize(
    ("error", "nonzeros", "holds"),
    [(0.0179, 26_000, True), (0.0181, 26_000, False), (0.0160, 27_000, False)],
)
def test_kept_accuracy_is_against_the_same_seeds(error: float, nonzeros: int, holds: bool) -> None:
    said = {FSSL: {"nonzeros": nonzeros, "error": error}, DENSE: {"error": 0.016}}
    for record in claims_size.zeros(ON_MNIST, Told(said), silent):
        assert record["holds"] is holds
        assert record["more_error"]["mean"] == pytest.approx(error - 0.016)


def test_nothing_is_judged_elsewhere() -> None:
    for other in (Settings(), replace(ON_MNIST, model="mlp:8")):
        assert claim(other, "what", "aimed", "found", True)["holds"] is None
    assert claim(ON_MNIST, "what", "aimed", "found", True)["holds"] is True


def compared(ratio: float, error: float) -> Record:
    dense = TimedNetwork((made(DENSE, None, 0, error=0.016), made(DENSE, None, 1, error=0.018)))
    fast = TimedNetwork((made(FSSL, Target("time", 0.13), 0, error=error),) * 2)
    times = ForwardTimes({CASE: {dense.label: [ratio, 2 * ratio], fast.label: [1.0, 2.0]}})
    aim = claims_speed.Aim("compact over dense", 3.0, 0.019)
    return claims_speed._compared(ON_MNIST, aim, fast, dense, times, CASE)


def test_speed_is_a_ratio_seed_by_seed() -> None:
    record = compared(3.0, 0.017)
    assert record["holds"] is True and record["ratio"]["values"] == [3.0, 3.0]
    assert record["found"] == (
        "3.00x: FSSL, mix 0.5, time 0.13 (1.70 ± 0.00 %) over dense (1.70 ± 0.14 %)"
    )
    assert compared(2.9, 0.017)["holds"] is False


def test_speed_at_a_higher_error_is_no_success() -> None:
    record = compared(9.0, 0.0191)
    assert record["holds"] is False and record["equal_error"] is False


def test_the_fastest_takes_part_among_those_of_kept_accuracy() -> None:
    targets = [Target("zeros", value) for value in (0.9, 0.95, 0.98)]
    networks = [
        TimedNetwork((made(MAGNITUDE, target, 0, error=error),), TORCH)
        for target, error in zip(targets, (0.015, 0.016, 0.030), strict=True)
    ]
    allowed = claims_speed._within(0.018, networks)
    seconds = {each.label: [3.0 - place] for place, each in enumerate(networks)}
    times = ForwardTimes({CASE: seconds})
    assert times.fastest(networks, CASE) is networks[2]
    assert times.fastest(allowed, CASE) is networks[1]
    assert claims_speed._within(0.001, networks) == networks[:1], "the most accurate"
    assert networks[1].label == "magnitude, CSR, zeros 0.95, torch CSR"
