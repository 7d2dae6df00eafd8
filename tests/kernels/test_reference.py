"""The reference itself, against dense arithmetic by hand, and its tolerance against exact sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from espalier import Layer, Network
from espalier.kernels import reference
from tests.support.networks import Case, cases


@settings(max_examples=60)
@given(case=cases(max_layers=5))
def test_infer_is_dense_arithmetic(case: Case) -> None:
    expected = case.rows.astype(np.float64)
    for layer in case.network:
        expected = expected @ layer.weights.toarray().astype(np.float64).T + layer.bias
        if layer.activation == "relu":
            expected = np.clip(expected, 0.0, layer.clip)
    np.testing.assert_array_equal(reference.infer(case.network, case.x), expected)


@pytest.mark.parametrize(
    ("activation", "clip", "expected"),
    [
        ("identity", None, [-3.0, 1.0, 5.0]),
        ("relu", None, [0.0, 1.0, 5.0]),
        ("relu", 2.0, [0, 1, 2]),
    ],
)
def test_activations(activation: str, clip: float | None, expected: list[float]) -> None:
    layer = Layer([[1.0]], 1.0, activation, clip)  # type: ignore[arg-type]
    assert reference.spmm(layer, [[-4.0], [0.0], [4.0]]).ravel().tolist() == expected


@settings(max_examples=60)
@given(case=cases(exact=False, max_layers=3))
def test_tolerance_covers_float32_in_the_worst_order(case: Case) -> None:
    rows = case.rows
    for layer in case.network:
        weights = layer.weights.toarray()
        products = weights[None] * rows[:, None]
        products = np.take_along_axis(products, np.argsort(-np.abs(products), axis=2), axis=2)
        sums = np.zeros(products.shape[:2], np.float32)
        for column in range(products.shape[2]):
            sums += products[:, :, column]
        sums += layer.bias
        rows = np.clip(sums, 0.0 if layer.activation == "relu" else -np.inf, layer.clip)
        rows = rows.astype(np.float32)
    expected = reference.infer(case.network, case.rows)
    bound = reference.tolerance(case.network, case.rows)
    np.testing.assert_allclose(rows, expected, rtol=0.0, atol=bound)


def test_tolerance_is_tight_enough_to_notice_a_lost_weight() -> None:
    rng = np.random.default_rng(0)
    net = Network([Layer(rng.standard_normal((64, 64)), 0.1) for _ in range(3)])
    x = rng.random((8, 64), np.float32)
    assert reference.tolerance(net, x) < 1e-2 * np.abs(reference.infer(net, x)).max()


def test_tolerance_of_one_exact_product_is_a_few_roundings() -> None:
    net = Network([Layer([[3.0]], 0.0)])
    assert 0.0 < reference.tolerance(net, np.ones((1, 1))) <= 4 * 3 * 3 * 2.0**-24
