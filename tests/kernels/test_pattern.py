"""Products with a fixed pattern against float64: shapes, layouts, threads, instruction sets."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import InputError
from espalier.kernels import Pattern, reference
from tests.support.instruction_sets import AVAILABLE, forced

UNIT = 2.0**-24
NEEDS = list(product((True, False), repeat=3))
LAYOUTS = (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2])


class Case(NamedTuple):
    offsets: np.ndarray
    columns: np.ndarray
    width: int
    values: np.ndarray
    bias: np.ndarray
    x: np.ndarray
    dy: np.ndarray

    @property
    def pattern(self) -> Pattern:
        return Pattern(self.offsets, self.columns, self.width)

    @property
    def dense(self) -> np.ndarray:
        return reference.dense_weights(self.offsets, self.columns, self.values, self.width)


def case(rows: int, columns: int, batch: int, density: float, seed: int, exact: bool) -> Case:
    """Small whole numbers when `exact`: all sums are then exact in float32."""
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, columns)) < density
    mask[rng.random(rows) < 0.1] = False
    mask[:, rng.random(columns) < 0.1] = False
    offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])

    def numbers(*shape: int) -> np.ndarray:
        if exact:
            return rng.integers(-4, 5, shape).astype(np.float32)
        return rng.standard_normal(shape).astype(np.float32)

    return Case(
        offsets.astype(np.int64),
        np.nonzero(mask)[1].astype(np.int32),
        columns,
        numbers(int(mask.sum())),
        numbers(rows),
        numbers(batch, columns),
        numbers(batch, rows),
    )


@st.composite
def cases(draw: st.DrawFn, exact: bool) -> Case:
    size = st.sampled_from((0, 1, 7, 16, 33))
    return case(
        draw(size),
        draw(size),
        draw(st.sampled_from((0, 1, 3, 16, 31, 64, 128, 130, 200))),
        draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))),
        draw(st.integers(0, 2**32 - 1)),
        exact,
    )


def close(found: np.ndarray, expected: np.ndarray, terms: int, sizes: np.ndarray) -> None:
    """Within the error of `terms` float32 additions in any order (Higham, section 3.1)."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= 4 * (terms + 2) * UNIT * sizes).all()


@pytest.mark.parametrize("name", AVAILABLE)
@settings(max_examples=60)
@given(case=cases(exact=True), data=st.data())
def test_exact_sums_are_exact(name: str, case: Case, data: st.DataObject) -> None:
    pattern, dense = case.pattern, case.dense
    x, dy = (data.draw(st.sampled_from(LAYOUTS))(each) for each in (case.x, case.dy))
    order, threads = data.draw(st.sampled_from("CF")), data.draw(st.sampled_from((1, 2, 3)))
    out = np.full((len(x), len(dense)), np.nan, np.float32, order=order)
    dx = np.full(x.shape, np.nan, np.float32, order=order)
    entries = reference.sddmm(case.offsets, case.columns, case.dy, case.x)
    by_x = reference.spmm_transposed(dense, case.dy)
    with forced(name):
        y = pattern.spmm(case.values, x, case.bias, out=out, threads=threads)
        np.testing.assert_array_equal(y, reference.linear(dense, case.x, case.bias))
        y = pattern.spmm(case.values, x, threads=threads)
        np.testing.assert_array_equal(y, reference.linear(dense, case.x))
        found = pattern.spmm_transposed(case.values, dy, out=dx, threads=threads)
        np.testing.assert_array_equal(found, by_x)
        np.testing.assert_array_equal(pattern.sddmm(dy, x, threads=threads), entries)
        gradients = pattern.backward(case.values, x, dy, dx=dx, threads=threads)
        np.testing.assert_array_equal(gradients.x, by_x)
        np.testing.assert_array_equal(gradients.values, entries)
        np.testing.assert_array_equal(gradients.bias, case.dy.sum(axis=0))


@pytest.mark.parametrize("name", AVAILABLE)
@settings(max_examples=40)
@given(case=cases(exact=False))
def test_rounded_sums_are_close(name: str, case: Case) -> None:
    pattern, dense = case.pattern, case.dense
    sizes = np.abs(dense), np.abs(case.x), np.abs(case.dy)
    with forced(name):
        y = pattern.spmm(case.values, case.x, case.bias)
        gradients = pattern.backward(case.values, case.x, case.dy)
    close(
        y,
        reference.linear(dense, case.x, case.bias),
        case.width,
        reference.linear(sizes[0], sizes[1], np.abs(case.bias)),
    )
    by_x = reference.spmm_transposed(dense, case.dy)
    close(gradients.x, by_x, len(dense), reference.spmm_transposed(sizes[0], sizes[2]))
    close(
        gradients.values,
        reference.sddmm(case.offsets, case.columns, case.dy, case.x),
        len(case.x),
        reference.sddmm(case.offsets, case.columns, sizes[2], sizes[1]),
    )


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("batch", [1, 100, 128, 300])
@pytest.mark.parametrize("columns", [600, 4000])
def test_bits_depend_on_threads_in_sums_over_samples_alone_and_never_on_layout(
    name: str, batch: int, columns: int
) -> None:
    drawn = case(700, columns, batch, 0.05, seed=1, exact=False)
    pattern = drawn.pattern

    def run(layout: Any, threads: int) -> tuple[Any, ...]:
        x, dy = layout(drawn.x), layout(drawn.dy)
        y = pattern.spmm(drawn.values, x, drawn.bias, threads=threads)
        dx, *sums = pattern.backward(drawn.values, x, dy, threads=threads)
        by_rows = pattern.spmm_transposed(drawn.values, dy, threads=threads)
        return (y, dx, by_rows), (*sums, pattern.sddmm(dy, x, threads=threads))

    with forced(name):
        expected, sums_alone = run(np.ascontiguousarray, 1)
        for threads in (2, 3):
            _, sums = run(np.ascontiguousarray, threads)
            in_cache = pattern.nonzeros < 1 << 17
            for mine, theirs in zip(sums, sums_alone, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-3)
                assert in_cache or (mine == theirs).all()
            for layout in LAYOUTS:
                found, again = run(layout, threads)
                for mine, theirs in zip((*found, *again), (*expected, *sums), strict=True):
                    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_threads_may_have_samples_of_their_own(name: str, threads: int) -> None:
    for batch in (threads * 4, 128, 131, 300, 513):
        drawn = case(400, 300, batch, 0.3, seed=batch, exact=True)
        with forced(name):
            for layout in LAYOUTS:
                x, dy = layout(drawn.x), layout(drawn.dy)
                y = drawn.pattern.spmm(drawn.values, x, drawn.bias, threads=threads)
                np.testing.assert_array_equal(
                    y, drawn.pattern.spmm(drawn.values, x, drawn.bias, threads=1)
                )
                alone = drawn.pattern.backward(drawn.values, x, dy, threads=1)
                for needs_input_grad in NEEDS:
                    found = drawn.pattern.backward(
                        drawn.values, x, dy, needs_input_grad=needs_input_grad, threads=threads
                    )
                    for mine, theirs, asked in zip(found, alone, needs_input_grad, strict=True):
                        assert (mine is None) != asked
                        if asked:
                            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize(
    ("rows", "columns", "density"),
    [(2300, 2700, 0.003), (2300, 2700, 0.03), (120, 20000, 0.004), (20000, 120, 0.004)],
)
def test_wide_layers_are_read_in_blocks(name: str, rows: int, columns: int, density: float) -> None:
    drawn = case(rows, columns, 128, density, seed=2, exact=True)
    x, dy = drawn.x.astype(np.float64), drawn.dy.astype(np.float64)
    with forced(name):
        y = drawn.pattern.spmm(drawn.values, drawn.x, drawn.bias, threads=2)
        gradients = drawn.pattern.backward(drawn.values, drawn.x, drawn.dy, threads=2)
        alone = drawn.pattern.sddmm(drawn.dy, drawn.x, threads=2)
    np.testing.assert_array_equal(y, reference.linear(drawn.dense, x, drawn.bias))
    np.testing.assert_array_equal(gradients.x, reference.spmm_transposed(drawn.dense, dy))
    entries = np.repeat(np.arange(rows), np.diff(drawn.offsets))
    np.testing.assert_array_equal(alone, (dy.T @ x)[entries, drawn.columns])
    np.testing.assert_array_equal(gradients.values, alone)


def test_gradients_that_are_not_needed_are_not_made() -> None:
    drawn = case(9, 7, 5, 0.5, seed=3, exact=True)
    whole = drawn.pattern.backward(drawn.values, drawn.x, drawn.dy)
    for needs_input_grad in ((True, False, False), (False, True, False), (False, False, True)):
        some = drawn.pattern.backward(
            drawn.values, drawn.x, drawn.dy, needs_input_grad=needs_input_grad
        )
        for asked, mine, all_of_it in zip(needs_input_grad, some, whole, strict=True):
            if asked:
                np.testing.assert_array_equal(mine, all_of_it)
            else:
                assert mine is None


@pytest.mark.parametrize(
    ("offsets", "columns", "message"),
    [
        ([0, 1], [5], "column 5 in row 0"),
        ([0, 1], [-1], "column -1 in row 0"),
        ([0, 2], [1, 1], "column 1 in row 0"),
        ([0, 2], [1, 0], "column 0 in row 0"),
        ([0, 2, 1, 3], [0, 1, 2], "row_offsets fall at row 1"),
        ([0, 9, 1], [0], "row_offsets fall at row 0"),
        ([0, -5, 1], [0], "row_offsets fall at row 0"),
        ([0, 2], [0], "row_offsets run from 0 to 2, wanted 0 to 1"),
        ([1, 1], [0], "row_offsets run from 1"),
        ([], [], "row_offsets is empty"),
        ([0.0, 1.0], [0], "whole numbers"),
        ([[0, 1]], [0], "one row"),
        ([0, 1], [2**40], "int32"),
    ],
)
def test_what_is_no_pattern_is_refused(offsets: object, columns: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pattern(offsets, columns, 5)


@pytest.mark.parametrize("columns", [-1, 2**31, "5"])
def test_widths_that_cannot_be_are_refused(columns: object) -> None:
    with pytest.raises(InputError, match="columns"):
        Pattern([0], [], columns)


def test_arrays_that_do_not_fit_are_refused() -> None:
    drawn = case(9, 7, 5, 0.5, seed=4, exact=True)
    pattern, values, x, dy = drawn.pattern, drawn.values, drawn.x, drawn.dy
    wrong = [
        lambda: pattern.spmm(values[1:], x),
        lambda: pattern.spmm(values.astype(np.float64), x),
        lambda: pattern.spmm(values, x.T),
        lambda: pattern.spmm(values, x.astype(np.float16)),
        lambda: pattern.spmm(values, x[0]),
        lambda: pattern.spmm(values, x.tolist()),
        lambda: pattern.spmm(values, x, values[:2]),
        lambda: pattern.spmm(values, x, out=np.empty((5, 8), np.float32)),
        lambda: pattern.spmm(values, x, out=np.empty((5, 18), np.float32)[:, ::2]),
        lambda: pattern.spmm_transposed(values, x),
        lambda: pattern.sddmm(dy[1:], x),
        lambda: pattern.backward(values, x[1:], dy),
        lambda: pattern.backward(values, x, dy, dx=dy),
    ]
    for call in wrong:
        with pytest.raises(InputError, match="wanted float32"):
            call()


def test_a_pattern_keeps_a_copy_of_its_arrays() -> None:
    offsets, columns = np.array([0, 1], np.int64), np.array([1], np.int32)
    pattern = Pattern(offsets, columns, 2)
    assert pattern.describes(offsets, columns)
    columns[0] = 10**6
    assert not pattern.describes(offsets, columns)
    x = np.array([[1.0, 2.0]], np.float32)
    assert pattern.spmm(np.ones(1, np.float32), x).tolist() == [[2.0]]
