"""Invariants hold when they say so, and say no wherever a counterexample exists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import Layer, Network, compile
from espalier.inference import FILTERS
from espalier.kernels import pack, reference, spmm
from espalier.simplify.invariants import (
    EarlyExits,
    Invariants,
    find_invariants,
    holds_from,
    never_positive,
)
from tests.support.networks import Case, cases


@settings(max_examples=100)
@given(case=cases(max_layers=3))
def test_zero_stays_zero_exactly_when_it_does(case: Case) -> None:
    for layer in case.network:
        response = reference.spmm(layer, np.zeros((1, layer.inputs)))
        assert find_invariants(layer).zero_stays_zero == (not response.any())


@settings(max_examples=100)
@given(case=cases(exact=False, max_layers=3), seed=st.integers(0, 2**32 - 1))
def test_saturated_stays_saturated_in_every_order_of_additions(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for layer in case.network:
        if not find_invariants(layer).saturated_stays_saturated:
            continue
        assert layer.clip is not None
        full = np.full((1, layer.inputs), layer.clip, np.float32)
        assert (spmm(pack(layer), full) == layer.clip).all()
        shuffled = layer.weights.toarray()[:, rng.permutation(layer.inputs)]
        sums = np.zeros(layer.outputs, np.float32)
        for column in range(layer.inputs):
            sums += shuffled[:, column] * np.float32(layer.clip)
        assert (sums + layer.bias >= layer.clip).all()


def near_tie(margin: float, terms: int = 200) -> Layer:
    """A row whose sum at saturation misses the clip by about `margin` parts."""
    values = np.random.default_rng(0).random(terms) + 0.5
    values *= (1.0 + margin) / values.sum()
    return Layer(values[None].repeat(terms, axis=0), 0.0, clip=1.0)


@pytest.mark.parametrize(
    ("margin", "proven"), [(1e-2, True), (1e-4, True), (1e-8, False), (0.0, False), (-1e-4, False)]
)
def test_near_ties_at_the_clip_are_not_proven(margin: float, proven: bool) -> None:
    assert find_invariants(near_tie(margin)).saturated_stays_saturated == proven


@pytest.mark.parametrize("margin", [1e-2, 1e-6, 1e-7, 1e-8, 0.0, -1e-7, -1e-3])
def test_near_ties_at_the_clip_keep_their_bits(margin: float) -> None:
    net = Network([near_tie(margin)] * 20)
    x = np.ones((5, 200), np.float32)
    x[3] = 0.0
    on, off = compile(net, merge=False), compile(net, merge=False, fixed_point=False)
    for filter in FILTERS:
        np.testing.assert_array_equal(on.run(x, filter).activations, off.run(x, filter).activations)


@pytest.mark.parametrize(
    ("layer", "zero", "saturated"),
    [
        (Layer([[1.0]], 0.0), True, False),
        (Layer([[1.0]], 1e-30), False, False),
        (Layer([[1.0]], -0.0, "identity"), True, False),
        (Layer([[1.0]], -1.0, "identity"), False, False),
        (Layer([[1.0]], 0.0, clip=1.0), True, False),
        (Layer([[1.0]], 0.5, clip=1.0), False, True),
        (Layer([[2.0]], -0.5, clip=1.0), True, True),
        (Layer([[2.0, 0.0], [0.5, 0.0]], 0.0, clip=1.0), True, False),
        (Layer([[2.0, -1.5], [3.0, 0.0]], 0.0, clip=1.0), True, False),
        (Layer(np.zeros((2, 2)), 2.0, clip=1.0), False, True),
        (Layer(np.zeros((0, 2)), 0.0, clip=1.0), True, False),
        (Layer(np.zeros((2, 0)), 0.0, clip=1.0), True, False),
    ],
)
def test_single_layers(layer: Layer, zero: bool, saturated: bool) -> None:
    found = find_invariants(layer)
    assert (found.zero_stays_zero, found.saturated_stays_saturated) == (zero, saturated)
    assert found.clip == layer.clip


@settings(max_examples=60)
@given(case=cases(max_layers=2), seed=st.integers(0, 2**32 - 1))
def test_rows_never_positive_are_zero_for_all_nonnegative_samples(case: Case, seed: int) -> None:
    for layer in case.network:
        rows = np.random.default_rng(seed).integers(0, 5, (20, layer.inputs))
        some = never_positive(layer)
        assert not reference.spmm(layer, rows)[:, some].any()
        if layer.activation == "relu":
            unit = np.vstack([np.zeros((1, layer.inputs)), 1e9 * np.eye(layer.inputs)])
            assert reference.spmm(layer, unit)[:, ~some].any(axis=0).all()


@given(flags=st.lists(st.booleans(), max_size=8))
def test_holds_from_means_from_here_to_the_end(flags: list[bool]) -> None:
    expected = [all(flags[start:]) for start in range(len(flags) + 1)]
    assert holds_from(flags).tolist() == expected


def test_samples_may_stop_where_all_later_layers_keep_them() -> None:
    layers = [Invariants(True, False, 1.0), Invariants(False, True, 2.0), Invariants(True, True, 1)]
    exits = EarlyExits.of(layers)
    assert exits.zero.tolist() == [False, True, True]
    assert exits.saturated.tolist() == [False, True, True] and exits.clip == 1.0
    assert not EarlyExits.of(layers, fixed_point=False).saturated.any()
    assert not EarlyExits.of([Invariants(True, True, None)]).saturated.any()
