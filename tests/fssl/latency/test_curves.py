"""Curves: exact for what they assume, rising where they promise it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.fssl import LayerUse
from espalier.fssl.latency.curves import RULES, Roofline, Steps, Table, Work
from espalier.fssl.latency.probes import CSR, DENSE, Point

LAYER = LayerUse("layer", "linear", 0, 1, in_width=64, out_width=32)
widths = st.integers(1, 64)


@given(width=st.integers(1, 500), quantum=st.sampled_from([1, 8, 16]), rule=st.sampled_from(RULES))
def test_steps_count_no_width_for_less_and_whole_vectors_for_what_they_are(width, quantum, rule):
    steps = Steps(quantum, rule)
    assert steps(width) >= min(width, steps(width // quantum * quantum) or width)
    if width % quantum == 0:
        assert steps(width) == width


def test_a_rest_in_halves_takes_longer_than_the_whole_vector():
    steps = Steps(16, "halves")
    assert steps(63) > steps(64) > steps(48)
    assert steps(24) < steps(31)


def test_work_counts_what_the_reference_counts():
    conv = LayerUse("conv", "conv", 0, 1, 3, 5, kernel=(3, 3), padding=(1, 1), size=(8, 6))
    flops, moved = Work.of(conv, 2, DENSE).amounts(3, 5, None)
    assert flops == 2 * 2 * 48 * 9 * 3 * 5
    assert moved == 4 * (2 * 48 * (3 + 5) + 9 * 3 * 5)
    flops, moved = Work.of(LAYER, 7, CSR).amounts(64, 32, 100)
    assert flops == 2 * 7 * 100
    assert moved == 4 * 7 * (64 + 32) + 8 * 100 + 8 * 32


@given(inputs=widths, outputs=widths, more=widths)
def test_a_roofline_rises_and_lies_above_its_bounds(inputs, outputs, more):
    curve = Roofline(1e-5, 1e-10, 1e-9, Work.of(LAYER, 256, DENSE))
    flops, moved = curve.work.amounts(inputs, outputs, None)
    seconds = curve.seconds(inputs, outputs)
    assert seconds >= 1e-5 + max(1e-10 * flops, 1e-9 * moved)
    assert seconds <= 1e-5 + 1.1 * max(1e-10 * flops, 1e-9 * moved)
    assert curve.seconds(inputs + more, outputs) > seconds < curve.seconds(inputs, outputs + more)


GRID = [Point(i, o) for i in (1, 8, 16, 40, 64) for o in (1, 4, 16, 32)]


def table_of(formula, **steps):
    seconds = np.array([formula(point) for point in GRID])
    return Table.of(GRID, seconds, Work.of(LAYER, 256, DENSE), **steps)


@given(inputs=widths, outputs=st.integers(1, 32))
def test_a_table_is_exact_for_a_bilinear_time(inputs, outputs):
    table = table_of(lambda point: 1.0 + point.inputs + 2.0 * point.inputs * point.outputs)
    assert table.seconds(inputs, outputs) == pytest.approx(1.0 + inputs + 2.0 * inputs * outputs)


def test_a_table_knows_its_points_whatever_the_steps():
    for rule in RULES[2:]:
        table = table_of(lambda p: 1.0 + p.inputs * p.outputs, output_steps=Steps(16, rule))
        assert table.seconds(40, 32) == pytest.approx(1.0 + 40 * 32)
        assert table.seconds(40, 4) == pytest.approx(1.0 + 40 * 4)
    whole = table_of(lambda p: 1.0 + p.inputs * p.outputs, output_steps=Steps(16, "whole"))
    assert whole.seconds(8, 3) == whole.seconds(8, 16) == pytest.approx(1.0 + 8 * 16)


@given(noise=st.lists(st.floats(0.5, 2.0), min_size=len(GRID), max_size=len(GRID)))
def test_a_smooth_table_never_falls_and_stays_near(noise):
    factors = iter(noise)
    table = table_of(lambda p: next(factors) * p.inputs * p.outputs, output_steps=Steps(16))
    smooth = table.smooth
    for axis in (0, 1):
        assert (np.diff(smooth.values, axis=axis) >= 0.0).all()
    change = np.abs(np.log(smooth.values / table.values))
    assert change.max() <= np.log(4.0) / 2 + 1e-9


def test_a_table_that_rises_is_smooth_as_it_is():
    table = table_of(lambda point: 1.0 + point.inputs + point.outputs)
    np.testing.assert_allclose(table.smooth.values, table.values)


def test_a_sparse_table_is_linear_in_the_non_zeros():
    grid = [
        Point(i, o, round(density * i * o))
        for i in (10, 100)
        for o in (10, 50)
        for density in (0.1, 0.5)
    ]
    seconds = np.array([3.0 + point.nonzeros for point in grid])
    table = Table.of(grid, seconds, Work.of(LAYER, 256, CSR))
    assert table.seconds(40, 20, 240) == pytest.approx(3.0 + 240)
    assert table.seconds(40, 20, 600) == pytest.approx(3.0 + 600)
    assert table.seconds(40, 20, 1) == table.seconds(40, 20, 80)
