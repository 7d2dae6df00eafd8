"""Candidates are checked, then share a limit of time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.challenge.comparison import (
    LEAST_ROUNDS,
    Candidate,
    allot,
    compare,
    plan_candidate,
    reference,
)
from benchmarks.challenge.settings import Settings
from espalier import EspalierError, compile, random_network
from espalier.kernels.reference import infer

NETWORK = random_network(64, 3, connections=8)
BATCH = sp.csr_array(np.random.default_rng(0).random((300, 64), dtype=np.float32))
SETTINGS = Settings(rounds=5, threads=1, limit=30.0)


def outputs(batch: Any) -> Any:
    return reference(NETWORK, batch).astype(np.float32)


def test_the_reference_is_the_kernels_own() -> None:
    np.testing.assert_allclose(reference(NETWORK, BATCH), infer(NETWORK, BATCH), atol=1e-9)


def test_a_comparison_times_all_candidates_on_all_samples() -> None:
    plan = compile(NETWORK, threads=1)
    comparison = compare([plan_candidate("plan", plan, "unique")], NETWORK, BATCH, SETTINGS)
    times = comparison.times["plan"]
    assert (times.samples, times.measured_samples) == (300, 300)
    assert len(times.seconds.rounds) == len(comparison.ceiling.rounds) == 5
    share = comparison.share_of_peak("plan", NETWORK.connections * 300)
    assert all(0.0 < part < 1.0 for part in share.rounds)


def test_who_computes_something_else_is_not_timed() -> None:
    wrong = Candidate("wrong", lambda batch: lambda: None, lambda batch: outputs(batch) + 1.0)
    with pytest.raises(EspalierError, match="wrong: activations differ by 1 "):
        compare([wrong], NETWORK, BATCH, SETTINGS)


def test_not_a_number_is_something_else() -> None:
    wrong = Candidate("wrong", lambda batch: lambda: None, lambda batch: outputs(batch) * np.nan)
    with pytest.raises(EspalierError, match="differ by nan"):
        compare([wrong], NETWORK, BATCH, SETTINGS)


def test_a_slow_candidate_runs_fewer_samples_and_its_time_is_scaled() -> None:
    """2 ms for a sample: all 300 take 0.6 s, of which three rounds exceed the limit."""
    requested = []

    def prepare(batch: Any) -> Any:
        requested.append(batch.shape[0])
        return lambda: time.sleep(0.002 * batch.shape[0])

    slow = Candidate("slow", prepare, outputs)
    comparison = compare([slow], NETWORK, BATCH, replace(SETTINGS, limit=0.8))
    times = comparison.times["slow"]
    assert times.measured_samples == requested[-1] < 300
    assert len(times.seconds.rounds) == LEAST_ROUNDS
    record = times.to_record()
    assert record["samples"] == 300 and record["measured_samples"] == requested[-1]
    assert times.seconds.low >= 0.6


def test_a_candidate_without_room_for_all_samples() -> None:
    plan = compile(NETWORK, threads=1)
    entry = replace(plan_candidate("plan", plan, "none"), most_samples=150)
    assert compare([entry], NETWORK, BATCH, SETTINGS).times["plan"].measured_samples == 150


@given(
    per_sample=st.floats(1e-9, 1.0),
    samples=st.integers(1, 100_000),
    rounds=st.integers(1, 20),
    limit=st.floats(0.1, 1000.0),
)
def test_what_is_allotted_keeps_within_the_limit(
    per_sample: float, samples: int, rounds: int, limit: float
) -> None:
    some, turns = allot(per_sample, samples, rounds, limit)
    assert 1 <= some <= samples
    assert min(rounds, LEAST_ROUNDS) <= turns <= rounds
    assert some == 1 or per_sample * some * (turns + 1) <= limit * (1 + 1e-9)
    if per_sample * samples * (rounds + 1) <= limit * (1 - 1e-9):
        assert (some, turns) == (samples, rounds)
