"""The FSSL paper's strategies agree with the reference and with the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.inference import STRATEGIES, StrategyPlan
from espalier.kernels import reference
from tests.support.networks import Case, cases

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@every_strategy
@settings(max_examples=40)
@given(case=cases(max_layers=10), threads=st.sampled_from((1, 2)))
def test_exact_cases_agree_bit_for_bit(strategy: Any, case: Case, threads: int) -> None:
    result = StrategyPlan(case.network, strategy, threads=threads).run(case.x)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(result.activations.toarray(), expected)
    np.testing.assert_array_equal(result.categories, np.flatnonzero(expected.any(axis=1)))
    dense = StrategyPlan(case.network, strategy).run(case.x, output="dense").activations
    np.testing.assert_array_equal(dense, expected)


@settings(max_examples=40)
@given(case=cases(exact=False, max_layers=6))
def test_all_strategies_and_the_plan_have_the_same_bits(case: Case) -> None:
    x = sp.csr_array(case.rows)
    plan = esp.compile(case.network, merge=False, fold=False)
    expected = plan.run(x).activations
    for strategy in STRATEGIES:
        result = StrategyPlan(case.network, strategy).run(x)
        np.testing.assert_array_equal(result.activations.toarray(), expected)


NET = esp.Network([esp.Layer(np.eye(4), -1.0)] * 6)
SAMPLES = np.repeat(np.arange(9.0)[:, None], 4, axis=1)


@every_strategy
def test_reports_count_and_name(strategy: Any) -> None:
    result = StrategyPlan(NET, strategy, threads=2).run(SAMPLES)
    report = result.report()
    assert (report.strategy, report.threads, report.samples) == (strategy, 2, 9)
    assert (report.layers, report.connections) == (6, 24)
    assert report.nominal_operations == 24 * 9
    # A sample of n has 4 non-zeros before layers 0 to n - 1; every one meets one weight.
    assert report.effective_operations == 4 * sum(min(n, 6) for n in range(9))
    assert result.categories.tolist() == [7, 8]
    (zero_filter,) = report.shortcuts
    assert zero_filter.used == (strategy == "filter")
    if strategy == "filter":
        assert "7 samples dropped" in zero_filter.saved


def test_the_filter_waits_where_dead_samples_may_wake() -> None:
    net = esp.Network([esp.Layer(np.eye(2), -1.0), esp.Layer(np.eye(2), 0.5)])
    result = StrategyPlan(net, "filter").run([[0.0, 0.0], [3.0, 0.0]])
    assert result.activations.toarray().tolist() == [[0.5, 0.5], [2.5, 0.5]]
    assert result.categories.tolist() == [0, 1]
    assert not result.report().shortcuts[0].used


@every_strategy
def test_progress_counts_layers(strategy: Any) -> None:
    calls: list[tuple[int, int]] = []
    StrategyPlan(NET, strategy).run(SAMPLES, progress=lambda *call: calls.append(call))
    assert calls == [(done, 6) for done in range(1, 7)]


@every_strategy
def test_plans_run_again_and_leave_samples_alone(strategy: Any) -> None:
    x = sp.csr_array(np.float32(SAMPLES))
    before, plan = x.copy(), StrategyPlan(NET, strategy)
    first = plan.run(x).activations.toarray()
    np.testing.assert_array_equal(plan.run(x).activations.toarray(), first)
    assert (x != before).nnz == 0
