"""Latency curves: interpolated, measured on shapes of bearable size, cached, mended if damaged."""

from __future__ import annotations

import json
import math
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.nn.zeroskip import measure as measure_module
from espalier.nn.zeroskip.latency import DENSE, DENSITIES, VARIANTS, LatencyCurve
from espalier.nn.zeroskip.measure import LatencyCache, measure
from espalier.nn.zeroskip.ops import Convolution, Linear
from espalier.nn.zeroskip.problem import ProblemShape


def problem_of(op, x, weight, threads=1):
    return ProblemShape.of(op, torch.Size(x), torch.Size(weight), threads)


SMALL = problem_of(Linear(), (8, 16), (4, 16))


def test_seconds_are_linear_between_the_measured_and_beyond():
    curve = LatencyCurve(5.0, {"input": (1.0, 2.0, 4.0, 7.0)})
    assert [curve.seconds("input", density) for density in DENSITIES] == [1.0, 2.0, 4.0, 7.0]
    assert curve.seconds("input", 0.0) == 1.0
    assert curve.seconds("input", 0.2) == pytest.approx(3.0)
    assert curve.seconds("input", 1.0) == pytest.approx(11.0)
    assert curve.seconds(DENSE, 0.1) == 5.0
    assert LatencyCurve(5.0, {"input": (1.0, 2.0, 4.0, 3.0)}).seconds("input", 1.0) == 3.0


@pytest.mark.parametrize("pass_name", VARIANTS)
@pytest.mark.parametrize(
    "problem",
    [
        SMALL,
        problem_of(Convolution((2, 1), (1, 0)), (2, 3, 9, 5), (4, 3, 3, 2), 2),
    ],
)
def test_every_pass_of_every_op_can_be_measured(problem, pass_name):
    before = torch.get_rng_state()
    curve, _ = measure(problem, pass_name)
    assert 0 < curve.dense < math.inf
    assert set(curve.variants) == set(VARIANTS[pass_name])
    assert all(len(times) == len(DENSITIES) for times in curve.variants.values())
    assert torch.equal(before, torch.get_rng_state())


@given(
    images=st.integers(1, 300),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    channels=st.integers(1, 512),
    kernel=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_measured_shapes_hold_the_kernel_and_stay_near(
    images, size, channels, kernel, padding, stride
):
    size = tuple(max(s, k - 2 * p) for s, k, p in zip(size, kernel, padding, strict=True))
    x = images, channels, *size
    problem = problem_of(Convolution(stride, padding), x, (8, channels, *kernel))
    assert problem.images <= images
    for measured, whole, k, p in zip(problem.size, size, kernel, padding, strict=True):
        assert k - 2 * p <= measured <= whole
    assert problem.size[1] >= 0.75 * size[1]
    shrunk = problem.images == 1 and problem.size[0] < max(16, 16 * kernel[0])
    assert shrunk or (problem.multiply_adds <= 5e8 and problem.elements <= 4e6)


@pytest.mark.parametrize(
    ("op", "x", "weight"),
    [
        (Linear(), (65536, 2048), (1, 2048)),
        (Linear(), (65536, 16), (2048, 16)),
        (Convolution(), (8, 64, 512, 512), (1, 64, 1, 1)),
        (Convolution(), (1, 1, 1024, 1024), (64, 1, 1, 1)),
    ],
)
def test_measured_tensors_are_of_bearable_size(op, x, weight):
    problem = problem_of(op, x, weight)
    assert 1e6 <= problem.elements <= 4.2e6


def test_measuring_holds_few_copies():
    problem = problem_of(Convolution(), (2, 16, 64, 64), (1, 16, 1, 1))
    tracemalloc.start()
    try:
        measure(problem, "backward_input")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 4 * problem.elements


def test_the_last_batch_of_an_epoch_measures_nothing_anew():
    problems = {
        problem_of(Convolution(), (images, 8, height, 28), (8, 8, 3, 3))
        for images, height in ((64, 28), (127, 29), (100, 31))
    }
    assert len(problems) == 1


restless: list[bool] = []  # not empty: the pretended machine is not steady


@pytest.fixture
def timings(monkeypatch):
    """Stands in for measuring: curves that tell how many were measured before."""
    made = []
    restless.clear()

    def pretend(problem, pass_name):
        made.append((problem, pass_name))
        times = (0.5 + len(made),) * len(DENSITIES)
        curve = LatencyCurve(1 / 3 + len(made), dict.fromkeys(VARIANTS[pass_name], times))
        return curve, not restless

    monkeypatch.setattr(measure_module, "measure", pretend)
    return made


def test_what_a_restless_machine_measured_is_not_kept(tmp_path, timings):
    restless.append(True)
    here = LatencyCache(tmp_path)
    assert here.curve(SMALL, "forward") == here.curve(SMALL, "forward")
    assert len(timings) == 1
    LatencyCache(tmp_path).curve(SMALL, "forward")
    assert len(timings) == 2


def test_measured_once_and_read_back_bit_for_bit(tmp_path, timings):
    first = LatencyCache(tmp_path)
    curve = first.curve(SMALL, "forward")
    assert first.curve(SMALL, "forward") == curve
    assert LatencyCache(tmp_path).curve(SMALL, "forward") == curve
    assert len(timings) == 1
    LatencyCache(tmp_path).curve(SMALL, "backward_input")
    assert LatencyCache(tmp_path).curve(SMALL, "forward") == curve
    assert len(timings) == 2


def test_two_processes_keep_each_others_curves(tmp_path, timings):
    mine, theirs = LatencyCache(tmp_path), LatencyCache(tmp_path)
    mine.curve(SMALL, "forward")
    theirs.curve(SMALL, "backward_weight")
    mine.curve(SMALL, "backward_input")
    fresh = LatencyCache(tmp_path)
    for pass_name in VARIANTS:
        fresh.curve(SMALL, pass_name)
    assert len(timings) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"dense"', '"dens"'),
        lambda text: json.dumps(dict.fromkeys(json.loads(text))),
        lambda text: text.replace("1.5", "-1.5"),
        lambda text: text.replace("1.5", "NaN"),
        lambda text: text.replace("1.5", '"1.5"'),
        lambda text: text.replace("1.5,", "", 1),
    ],
)
def test_a_damaged_file_is_measured_anew(tmp_path, timings, damage):
    LatencyCache(tmp_path).curve(SMALL, "forward")
    (file,) = (tmp_path / "espalier").iterdir()
    file.write_text(damage(file.read_text()))
    curve = LatencyCache(tmp_path).curve(SMALL, "forward")
    assert len(timings) == 2
    assert LatencyCache(tmp_path).curve(SMALL, "forward") == curve
    assert len(timings) == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, timings):
    (tmp_path / "espalier").write_text("in the way")
    LatencyCache(tmp_path).curve(SMALL, "forward")
    assert len(timings) == 1


def test_threads_and_shapes_have_curves_of_their_own():
    sizes = [(8, 16), (8, 32), (16, 16)]
    keys = {
        problem_of(Linear(), size, (4, size[1]), threads).key(pass_name)
        for size in sizes
        for threads in (1, 2)
        for pass_name in VARIANTS
    }
    assert len(keys) == 3 * 2 * 3
