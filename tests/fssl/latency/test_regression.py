"""Fits find the constants that made the seconds, and judge themselves by unseen points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.fssl import LayerUse
from espalier.fssl.latency.curves import Roofline, Steps, Table, Work
from espalier.fssl.latency.probes import CSR, DENSE, points
from espalier.fssl.latency.regression import _refined, fit

LAYER = LayerUse("layer", "linear", 0, 1, in_width=300, out_width=200)
fixed = st.floats(1e-6, 1e-4)
per_flop = st.floats(2e-12, 1e-10)
per_byte = st.floats(1e-11, 1e-9)


def seconds_of(curve, found):
    return [curve.seconds(*point) for point in found.all]


@settings(max_examples=15)
@given(fixed=fixed, per_flop=per_flop, per_byte=per_byte, backend=st.sampled_from([DENSE, CSR]))
def test_a_roofline_is_predicted_whatever_its_constants(fixed, per_flop, per_byte, backend):
    work, found = Work.of(LAYER, 256, backend), points(LAYER, 256, backend)
    truth = Roofline(fixed, per_flop, per_byte, work)
    result = fit(found, seconds_of(truth, found), work, backend)
    assert result.median < 0.02 and result.worst < 0.1
    full = truth.seconds(300, 200)
    assert result.curve.seconds(300, 200, None) == pytest.approx(full, rel=0.02)


@settings(max_examples=15)
@given(fixed=fixed, per_flop=per_flop, per_byte=per_byte)
def test_the_constants_of_a_roofline_are_found_again(fixed, per_flop, per_byte):
    work, grid = Work.of(LAYER, 256, DENSE), points(LAYER, 256, DENSE).grid
    truth = Roofline(fixed, per_flop, per_byte, work)
    seconds = np.array([truth.seconds(*point) for point in grid])
    start = Roofline(1.5 * fixed, 0.7 * per_flop, 1.4 * per_byte, work)
    found = _refined(start, grid, seconds)
    predicted = np.array([found.seconds(*point) for point in grid])
    np.testing.assert_allclose(predicted, seconds, rtol=1e-3)
    if 4 * per_flop * 256 * 2 * 300 * 200 > 5 * per_byte * 4 * (256 * 500 + 300 * 200):
        assert found.per_flop == pytest.approx(per_flop, rel=1e-2)


@pytest.mark.parametrize("rule", ["whole", "above", "halves"])
def test_steps_are_found(rule):
    work, found = Work.of(LAYER, 256, DENSE), points(LAYER, 256, DENSE)
    truth = Roofline(1e-6, 1e-11, 1e-12, work, output_steps=Steps(16, rule))
    result = fit(found, seconds_of(truth, found), work, DENSE)
    assert result.curve.output_steps == Steps(16, rule)
    assert result.worst < 0.02


def test_a_table_is_kept_where_no_roofline_fits():
    work, found = Work.of(LAYER, 256, DENSE), points(LAYER, 256, DENSE)
    seconds = [1e-5 + 1e-8 * point.inputs**2 + 1e-7 * point.outputs for point in found.all]
    result = fit(found, seconds, work, DENSE)
    assert isinstance(result.curve, Table)
    assert result.median < 0.05


def test_the_error_is_that_of_points_nobody_saw():
    work, found = Work.of(LAYER, 256, DENSE), points(LAYER, 256, DENSE)
    truth = Roofline(1e-6, 1e-11, 1e-12, work)
    held_out = set(found.held_out)
    seconds = [truth.seconds(*point) * (2.0 if point in held_out else 1.0) for point in found.all]
    result = fit(found, seconds, work, DENSE)
    assert result.errors == pytest.approx([0.5] * len(found.held_out), abs=0.02)
    assert result.median == pytest.approx(0.5, abs=0.02) and result.worst < 0.55


@pytest.mark.parametrize(("factor", "learnt"), [(1.1, 1.1), (0.5, 1.0)])
def test_steps_that_are_not_filled_may_take_longer_but_never_less(factor, learnt):
    work, found = Work.of(LAYER, 256, DENSE), points(LAYER, 256, DENSE)
    truth = Roofline(1e-6, 1e-11, 1e-12, work, output_steps=Steps(16, "whole"), rest=factor)
    result = fit(found, seconds_of(truth, found), work, DENSE)
    if factor > 1.0:
        assert result.worst < 0.03
    assert result.curve.rest == pytest.approx(learnt, abs=0.03)
