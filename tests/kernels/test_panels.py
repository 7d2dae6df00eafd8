"""Panels: layers on parts of arrays, what parts take from each other, and steps they announce."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.kernels import pack, spmm
from espalier.kernels.panels import (
    CACHE_LINE,
    StepCounters,
    add_neurons,
    empty_panels,
    run_panels,
    take_neurons,
)
from tests.support.networks import Case, cases


@given(
    case=cases(max_layers=1),
    tile=st.sampled_from((16, 32, 64)),
    room=st.sampled_from((0, 3)),
    threads=st.sampled_from((1, 2)),
)
def test_layers_run_on_the_front_of_panels(case: Case, tile: int, room: int, threads: int) -> None:
    layer, samples = pack(case.network[0]), len(case.rows)
    panels = max(1, -(-samples // tile))
    lanes = np.zeros((panels * tile, layer.inputs), np.float32)
    lanes[:samples] = case.rows
    x = empty_panels(panels, layer.inputs + room, tile)
    x[:] = np.nan  # what lies behind the layer's inputs is not read
    x[:, : layer.inputs] = lanes.reshape(panels, tile, -1).transpose(0, 2, 1)
    y, alive = empty_panels(panels, layer.outputs + room, tile), np.empty((panels, tile), "f4")
    y[:] = -7.0

    run_panels(layer, x, y, alive, threads)

    outputs = y[:, : layer.outputs].transpose(0, 2, 1).reshape(panels * tile, -1)
    expected = spmm(layer, lanes)
    np.testing.assert_array_equal(outputs, expected)
    assert (y[:, layer.outputs :] == -7.0).all()
    np.testing.assert_array_equal(
        alive.reshape(-1).view(np.uint32) != 0, expected.view(np.uint32).any(axis=1)
    )


@given(
    panels=st.integers(0, 3),
    neurons=st.integers(1, 9),
    lanes=st.sampled_from((1, 16, 17)),
    data=st.data(),
)
def test_neurons_are_taken_and_added_in_place(panels, neurons, lanes, data):
    rng = np.random.default_rng(0)
    index = np.array(data.draw(st.lists(st.integers(0, neurons - 1), unique=True)), np.int64)
    first = data.draw(st.integers(0, 2))
    source = rng.random((panels, neurons, lanes), np.float32)
    target = np.zeros((panels, first + len(index) + 1, lanes), np.float32)

    take_neurons(source, index, target, first)

    np.testing.assert_array_equal(target[:, first : first + len(index)], source[:, index])
    assert not target[:, :first].any() and not target[:, first + len(index) :].any()
    sums = source.copy()
    add_neurons(target, first, index, sums)
    expected = source.copy()
    expected[:, index] *= 2.0
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize(
    ("index", "first"), [([3], 0), ([-1], 0), ([0], 2), ([0], -1), ([0, 1, 2], 0)]
)
def test_neurons_outside_are_refused(index, first):
    source, target = np.zeros((2, 3, 16), np.float32), np.zeros((2, 2, 16), np.float32)
    with pytest.raises(ValueError, match="neuron"):
        take_neurons(source, np.array(index), target, first)
    with pytest.raises(ValueError, match="neuron"):
        add_neurons(target, first, np.array(index), source)


def test_panels_that_do_not_fit_are_refused():
    from espalier import Layer

    layer = pack(Layer(np.ones((3, 2)), 0.0))
    alive = np.empty((1, 16), np.float32)
    good_x, good_y = np.empty((1, 2, 16), np.float32), np.empty((1, 3, 16), np.float32)
    for x, y, lanes in (
        (good_x[:, :1].copy(), good_y, alive),
        (good_x, good_y[:, :2].copy(), alive),
        (good_x, np.empty((2, 3, 16), np.float32), alive),
        (np.empty((1, 2, 8), np.float32), np.empty((1, 3, 8), np.float32), alive[:, :8].copy()),
        (good_x, good_y, np.empty((1, 8), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"panels|lanes"):
            run_panels(layer, x, y, lanes)


def test_arrays_start_on_a_cache_line():
    for shape in ((1, 1, 1), (2, 3, 16), (5, 1, 17)):
        assert empty_panels(*shape).ctypes.data % CACHE_LINE == 0
        assert empty_panels(*shape).shape == shape


def test_a_step_is_seen_when_it_is_announced():
    memory = np.zeros((3, 8), np.uint64)
    steps = [StepCounters(memory, part) for part in range(3)]
    everybody = np.arange(3)
    steps[0].announce(1)
    assert steps[0].late(everybody, 1, seconds=0.01) == 1

    def later():
        time.sleep(0.05)
        steps[1].announce(1)
        steps[2].announce(2)

    thread = threading.Thread(target=later)
    thread.start()
    assert steps[0].late(everybody, 1, seconds=10.0) is None
    thread.join()
    assert steps[0].late(everybody, 2, seconds=0.01) == 0
    with pytest.raises(ValueError, match="no such part"):
        steps[0].late(np.array([3]), 1, seconds=0.0)
