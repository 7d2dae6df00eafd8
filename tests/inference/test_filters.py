"""Row filters: samples that died, repeat or are finished, and the row_map that remember them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier.inference import FILTERS, Shortcut
from espalier.inference.row_map import SATURATED, ZERO, RowMap, Rows
from espalier.kernels import reference

DEPTH = 40


def shortcuts(result: esp.Result) -> dict[str, Shortcut]:
    return {shortcut.name: shortcut for shortcut in result.report().shortcuts}


def deep(layer: esp.Layer, *rest: esp.Layer) -> esp.Network:
    return esp.Network([layer] * (DEPTH - len(rest)) + list(rest))


def mixed_samples(width: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (200, width)).astype(np.float32)
    x[::3] = 0.0
    x[1::3] = x[1]
    return x


CLIPPED = esp.Layer(np.eye(8) + np.eye(8, k=1), -0.5, clip=4.0)
WAKING = esp.Layer(np.eye(8), 0.25, clip=4.0)
OTHER_CLIP = esp.Layer(3.0 * np.eye(8), -0.5, clip=8.0)
UNCLIPPED = esp.Layer(np.eye(8), -0.125)

NETWORKS = {
    "dead rows stay dead": deep(CLIPPED),
    "every layer wakes dead rows": deep(WAKING),
    "the last layer wakes dead rows": deep(CLIPPED, WAKING),
    "a late layer wakes dead rows": deep(CLIPPED, WAKING, CLIPPED, CLIPPED),
    "the last clip differs": deep(CLIPPED, OTHER_CLIP),
    "a late clip differs": deep(CLIPPED, OTHER_CLIP, CLIPPED),
    "saturation does not last": deep(CLIPPED, esp.Layer(np.eye(8), -1.0, clip=4.0)),
    "saturation dies": deep(CLIPPED, esp.Layer(-np.eye(8), 3.0, clip=4.0)),
    "no clip": deep(UNCLIPPED),
    "signs live on": deep(esp.Layer(-np.eye(8), 0.0, "identity")),
    "constants come back": deep(CLIPPED, esp.Layer(np.zeros((3, 8)), [0.0, 2.0, 0.0])),
}

every_network = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
every_filter = pytest.mark.parametrize("filter", FILTERS)


@every_network
@every_filter
@pytest.mark.parametrize("fixed_point", [False, True])
def test_filters_change_nothing(net: esp.Network, filter: Any, fixed_point: bool) -> None:
    x = mixed_samples(8)
    expected = reference.infer(net, x)
    result = esp.compile(net, fixed_point=fixed_point).run(x, filter)
    bound = reference.tolerance(net, x)
    np.testing.assert_allclose(result.activations, expected, rtol=0.0, atol=bound)
    np.testing.assert_array_equal(result.categories, np.flatnonzero(expected.any(axis=1)))


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("dead rows stay dead", {"zero filter", "unique filter"}),
        ("every layer wakes dead rows", {"unique filter", "fixed point"}),
        ("signs live on", {"zero filter", "unique filter"}),
    ],
)
def test_shortcuts_are_used_where_they_are_proven(name: str, used: set[str]) -> None:
    found = shortcuts(esp.compile(NETWORKS[name], merge=False).run(mixed_samples(8), "unique"))
    filters = {"zero filter", "unique filter", "fixed point"}
    assert {each for each in filters if found[each].used} == used


@every_network
def test_no_filter_means_every_sample_in_every_layer(net: esp.Network) -> None:
    plan = esp.compile(net, merge=False, fold=False, fixed_point=False)
    result = plan.run(mixed_samples(8), "none")
    assert result.effective_operations == net.connections * 200
    found = shortcuts(result)
    assert not any(found[name].used for name in ("zero filter", "unique filter", "fixed point"))


def test_the_zero_filter_counts_what_dies() -> None:
    net = deep(esp.Layer(np.eye(4), -1.0))  # a sample of n lives n - 1 layers on
    x = np.repeat(np.arange(1.0, 65.0)[:, None], 4, axis=1)
    plan = esp.compile(net, merge=False)
    result = plan.run(x, "zero")
    assert result.categories.tolist() == list(range(DEPTH, 64))
    living = sum(min(n, DEPTH) for n in range(1, 65))
    total = 64 * DEPTH
    assert 4 * living <= result.effective_operations < 4 * total
    assert shortcuts(result)["zero filter"].used


def test_the_unique_filter_runs_equal_samples_once() -> None:
    net = deep(esp.Layer(np.eye(4), 0.0))
    x = np.tile(np.float32([[1.0, 2.0, 3.0, 4.0]]), (1000, 1))
    result = esp.compile(net, merge=False).run(x, "unique")
    assert result.effective_operations < 4 * (1000 * (DEPTH // 2) + DEPTH)
    assert "999 rows" in shortcuts(result)["unique filter"].saved
    np.testing.assert_array_equal(result.activations, x)


def test_the_fixed_point_ends_saturated_samples() -> None:
    net = deep(esp.Layer(2.0 * np.eye(4), 0.0, clip=4.0))
    x = np.float32([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    result = esp.compile(net, merge=False).run(x, "none")
    assert "1 rows" in shortcuts(result)["fixed point"].saved
    assert result.activations.tolist() == [[4.0] * 4, [4.0, 0.0, 4.0, 4.0], [0.0] * 4]
    off = esp.compile(net, merge=False, fixed_point=False).run(x, "none")
    assert not shortcuts(off)["fixed point"].used


@every_filter
def test_any_order_of_samples_gives_that_order_of_results(filter: Any) -> None:
    net = esp.random_network([20, 24, 30, 24, 30, 20, 20, 20, 20, 10], connections=5)
    x = np.random.default_rng(0).random((300, 20), np.float32)
    x[::4] = 0.0
    x[1::4] = x[5]
    plan, order = esp.compile(net), np.random.default_rng(1).permutation(300)
    whole = plan.run(x, filter)
    shuffled = plan.run(sp.csr_array(x[order]), filter)
    np.testing.assert_array_equal(shuffled.activations, whole.activations[order])
    one_by_one = np.vstack([plan.run(row[None], filter).activations for row in x[:20]])
    np.testing.assert_array_equal(one_by_one, whole.activations[:20])


slot_maps = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(widths=slot_maps, seed=st.integers(0, 2**32 - 1))
def test_redirections_compose(widths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    row_map, count = RowMap.one_each(7), 7
    expected = list(range(7))
    for width in widths:
        new_slot = rng.integers(-2, width, count)
        row_map.redirect(new_slot)
        expected = [slot if slot < 0 else int(new_slot[slot]) for slot in expected]
        if rng.random() < 0.5:
            assert row_map.of_sample.tolist() == expected
        count = width
    assert row_map.of_sample.tolist() == expected


def rows_of(*values: float) -> Rows:
    matrix = np.repeat(np.float32(values)[:, None], 3, axis=1)
    return Rows(matrix, np.arange(len(values), dtype=np.int64))


@pytest.mark.parametrize(
    ("filter", "saturated", "expected", "saved"),
    [
        ("none", None, [0, 1, 2, 3, 4, 5], (0, 0, 0)),
        ("zero", None, [0, 1, 2, 1, 3, 4], (1, 0, 0)),
        ("unique", None, [0, 1, 2, 1, 0, 2], (1, 2, 0)),
        ("none", 9.0, [0, 1, SATURATED, 2, 3, SATURATED], (0, 0, 2)),
        ("unique", 9.0, [0, 1, SATURATED, 1, 0, SATURATED], (1, 2, 1)),
    ],
)
def test_sharing(filter: Any, saturated: float | None, expected: list[int], saved: Any) -> None:
    row_map = RowMap.one_each(6)
    rows, counted = row_map.share(rows_of(7.0, 0.0, 9.0, 0.0, 7.0, 9.0), filter, saturated, 1)
    assert row_map.of_sample.tolist() == expected
    assert (counted["zero"], counted["unique"], counted["fixed point"]) == saved
    assert len(rows) == len({slot for slot in expected if slot >= 0})


def test_dropping_forgets_rows_without_an_index() -> None:
    row_map = RowMap.one_each(4)
    rows = row_map.drop(Rows(np.zeros((4, 2), np.float32), np.array([3, -1, 0, -1])))
    assert row_map.of_sample.tolist() == [0, ZERO, 1, ZERO]
    assert rows.index.tolist() == [3, 0]
