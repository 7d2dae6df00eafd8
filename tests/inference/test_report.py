"""Results and reports: what they hold, and that every claim is a counted fact."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

import espalier as esp
from espalier.kernels import reference
from tests.support.networks import Case, cases

NET = esp.radixnet(96, 12, radices=[2, 3], kronecker=16, bias=-0.1)
X = (np.random.default_rng(0).random((70, 96)) < 0.3).astype(np.float32)


def used(result: esp.Result) -> set[str]:
    return {shortcut.name for shortcut in result.report().shortcuts if shortcut.used}


def test_report_says_what_was_run() -> None:
    plan = esp.compile(NET, threads=2)
    result = plan.run(X, "zero")
    report = result.report()
    assert (report.samples, report.layers, report.connections) == (70, 12, NET.connections)
    assert report.nominal_operations == NET.connections * 70
    assert (report.threads, report.filter, report.strategy) == (2, "zero", "plan")
    assert report.categories == len(result.categories)
    assert report.seconds == result.seconds > 0.0
    assert report.rate == result.rate == report.nominal_operations / report.seconds
    assert report.compile_seconds == plan.compile_seconds > 0.0


def test_report_as_numbers_and_as_text() -> None:
    report = esp.compile(NET).run(X).report()
    numbers = json.loads(json.dumps(report.to_dict()))
    assert numbers["nominal_operations"] == report.nominal_operations
    assert numbers["rate"] == report.rate
    assert [each["name"] for each in numbers["shortcuts"]] == [s.name for s in report.shortcuts]
    text = str(report)
    assert all(shortcut.name in text and shortcut.proof in text for shortcut in report.shortcuts)
    assert "70 samples through 12 layers" in text


@pytest.mark.parametrize("memory", [None, 1])
def test_what_is_switched_off_is_not_used(memory: int | None) -> None:
    everything = used(esp.compile(NET, memory=memory).run(X))
    assert "merge" in everything
    nothing = esp.compile(
        NET, merge=False, fold=False, group=False, fixed_point=False, memory=memory
    ).run(X, "none")
    assert used(nothing) == set()
    assert nothing.effective_operations == NET.connections * 70


def test_merged_neurons_are_counted() -> None:
    rows = [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]
    readers = [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]]
    result = esp.infer(esp.Network([esp.Layer(rows, 0.0), esp.Layer(readers, 0.0)]), [[1.0, 1.0]])
    merge = result.report().shortcuts[0]
    assert merge.used and "2 neurons" in merge.saved and "50.00% of the connections" in merge.saved
    assert result.activations.tolist() == [[12.0, 30.0]]


@settings(max_examples=60)
@given(case=cases(max_layers=6))
def test_effective_operations_without_shortcuts_are_nominal(case: Case) -> None:
    plan = esp.compile(case.network, merge=False, fold=False, group=False, fixed_point=False)
    report = plan.run(case.rows, "none").report()
    assert report.effective_operations == report.nominal_operations
    assert report.nominal_operations == case.network.connections * len(case.rows)
    filtered = plan.run(case.rows, "unique").report()
    assert filtered.effective_operations <= report.effective_operations


@settings(max_examples=40)
@given(case=cases(max_layers=6))
def test_activations_come_dense_or_sparse(case: Case) -> None:
    plan = esp.compile(case.network)
    dense = plan.run(case.x).activations
    sparse = plan.run(case.x, output="csr").activations
    expected = reference.infer(case.network, case.rows)
    assert isinstance(dense, np.ndarray) and isinstance(sparse, sp.csr_array)
    assert dense.shape == sparse.shape == expected.shape
    assert dense.dtype == sparse.dtype == np.float32
    assert sparse.nnz == np.count_nonzero(expected)
    np.testing.assert_array_equal(sparse.toarray(), dense)


def test_activations_are_made_once_and_categories_are_int64() -> None:
    result = esp.infer(NET, X)
    assert result.activations is result.activations
    assert result.categories.dtype == np.int64
    np.testing.assert_array_equal(result.categories, np.flatnonzero(result.activations.any(axis=1)))


def test_repr_says_sizes() -> None:
    text = repr(esp.infer(NET, X))
    assert text.startswith("Result(70 samples x 96 outputs, ") and " s)" in text


def test_no_samples_make_an_empty_result() -> None:
    for x in (np.zeros((0, 96)), sp.csr_array((0, 96))):
        result = esp.infer(NET, x)
        assert result.activations.shape == (0, 96)
        assert result.categories.tolist() == []
        assert result.report().nominal_operations == 0
        assert str(result.report())
        assert esp.infer(NET, x, output="csr").activations.shape == (0, 96)
