"""The time model: sums, slopes, choices, reports, and what it refuses."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from espalier.errors import InputError
from espalier.fssl import TimeModel
from espalier.fssl.latency import model as time_model
from espalier.fssl.latency import prediction
from espalier.fssl.latency.probes import CSR, DENSE
from tests.support.times import PretendedMachine, convnet, groups_of, mlp

GROUPS = groups_of(mlp(), 64)
FULL = [64, 40, 24]
all_widths = st.tuples(st.integers(0, 64), st.integers(0, 40), st.integers(0, 24))


@pytest.fixture
def machine(monkeypatch):
    return PretendedMachine(monkeypatch)


@pytest.fixture
def time(machine, tmp_path):
    return TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path)


def layer_by_formula(layer, inputs, outputs, nonzeros=None):
    weights = layer.weights(inputs, outputs) if nonzeros is None else 4 * nonzeros
    return 1e-5 + 1e-9 * weights


def test_layers_take_what_was_measured(time):
    for layer in GROUPS.layers:
        for inputs, outputs in ((layer.in_width, layer.out_width), (7, 10), (1, 1)):
            expected = layer_by_formula(layer, inputs, outputs)
            assert time.layer_seconds(layer, inputs, outputs) == pytest.approx(expected, rel=0.03)
            some = -(-inputs * outputs // 20)
            sparse = time.layer_seconds(layer, inputs, outputs, some, CSR)
            expected = layer_by_formula(layer, inputs, outputs, some)
            assert sparse == pytest.approx(expected, rel=0.03)


def test_the_network_takes_the_sum_of_its_layers_gaps_and_gather(time):
    sequence = [64, 40, 24, 10]
    layers = sum(
        layer_by_formula(layer, *pair)
        for layer, pair in zip(GROUPS.layers, pairwise(sequence), strict=True)
    )
    assert time.seconds(FULL) == pytest.approx(layers + 1e-6 + 3 * 3e-6, rel=0.03)
    narrow = sum(
        layer_by_formula(layer, *pair)
        for layer, pair in zip(GROUPS.layers, ((32, 20), (20, 12), (12, 10)), strict=True)
    )
    gaps = 1e-6 + 3 * 1e-6 + (0.5 + 0.5 + 1.0) * 2e-6
    gather = 1e-6 + 1e-8 * 32
    assert time.seconds([32, 20, 12]) == pytest.approx(narrow + gaps + gather, rel=0.03)


def test_each_layer_runs_the_cheaper_way(time):
    layer = GROUPS.layers[0]
    assert time.backend(layer, 64, 40) == DENSE
    assert time.backend(layer, 64, 40, 64 * 40 // 2) == DENSE
    assert time.backend(layer, 64, 40, 64 * 40 // 10) == CSR
    few = [64 * 40 // 10, None, None]
    assert time.seconds(FULL, few) < time.seconds(FULL)


def test_a_layer_that_is_hardly_sparse_runs_dense_whatever_was_measured(monkeypatch):
    monkeypatch.setattr(prediction, "_CSR_SLOWDOWN", 0.5)
    model = TimeModel.from_macs(GROUPS)
    layer, weights = GROUPS.layers[0], 64 * 40
    assert model.backend(layer, 64, 40, int(0.69 * weights)) == CSR
    assert model.backend(layer, 64, 40, int(0.71 * weights)) == DENSE
    counts = [int(0.71 * weights), None, None]
    assert model.seconds(FULL, counts) == model.seconds(FULL)


@given(widths=all_widths)
def test_marginals_are_never_negative_and_near_the_formula(widths):
    model = MEASURED[0]
    marginals = model.marginals(widths)
    assert all(isinstance(each, float) and each >= 0.0 for each in marginals)
    inputs, first, second = (max(each, 1) for each in widths)
    if min(widths) > 2:
        assert marginals[0] == pytest.approx(1e-9 * first + 1e-8, rel=0.05)
        assert marginals[1] == pytest.approx(1e-9 * (inputs + second) + 2e-6 / 40, rel=0.05)
        assert marginals[2] == pytest.approx(1e-9 * (first + 10) + 2e-6 / 24, rel=0.05)


@given(widths=all_widths)
def test_seconds_are_positive_and_no_more_than_at_full_width(widths):
    model = MEASURED[0]
    assert 0.0 < model.seconds(widths) <= model.seconds(FULL) + 2e-6


@pytest.fixture(autouse=True, scope="module")
def measured(tmp_path_factory):
    """A model for properties, which may not use a fixture of each test."""
    with pytest.MonkeyPatch.context() as patch:
        PretendedMachine(patch)
        MEASURED.append(
            TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path_factory.mktemp("times"))
        )
    yield
    MEASURED.clear()


MEASURED: list[TimeModel] = []


def test_marginals_do_not_see_the_steps_of_a_kernel(machine, tmp_path):
    def in_sixteens(task, point):
        inputs, outputs = (-(-each // 16) * 16 for each in point[:2])
        return 1e-6 + 1e-9 * inputs * outputs

    machine.seconds = in_sixteens
    wide = groups_of(mlp(256, 192, 128), 256)
    model = TimeModel.measure(wide, 32, threads=1, backends=[DENSE], folder=tmp_path)
    middle, edge = model.marginals([256, 136, 128])[1], model.marginals([256, 128, 128])[1]
    assert middle == pytest.approx(edge, rel=0.1)
    assert edge == pytest.approx(1e-9 * (256 + 128), rel=0.1)


def test_a_network_of_constants_is_launch_bound(machine, tmp_path, time):
    assert not time.launch_bound
    machine.seconds = lambda task, point: 1e-5 + 1e-12 * point.inputs * point.outputs
    groups = groups_of(mlp(64, 40, 25), 64)
    constant = TimeModel.measure(groups, 32, threads=1, folder=tmp_path / "other")
    assert constant.launch_bound
    assert "the time term is inactive" in constant.report()


def test_multiply_adds_stand_in_for_time():
    time = TimeModel.from_macs(GROUPS, batch=10)
    layer = GROUPS.layers[0]
    assert not time.measured
    assert time.layer_seconds(layer, 64, 40) == pytest.approx(2 * time.layer_seconds(layer, 32, 40))
    total = 64 * 40 + 40 * 24 + 240
    assert time.marginals(FULL)[1] / time.seconds(FULL) == pytest.approx((64 + 24) / total)
    assert time.backend(layer, 64, 40, 64 * 40 // 4) == CSR
    assert "nothing was measured" in str(time)
    conv = groups_of(convnet(), 1, 8, 8)
    time = TimeModel.from_macs(conv, batch=10)
    first, second = (time.layer_seconds(layer, 1, 6) for layer in conv.layers[:2])
    assert first / second == pytest.approx(8 * 8 / (2 * 2))


def test_json_gives_the_same_model_back(time):
    again = TimeModel.from_json(time.to_json())
    assert again.to_json() == time.to_json()
    assert again.report() == time.report()
    assert again.seconds([9, 9, 9], [9, None, 50]) == time.seconds([9, 9, 9], [9, None, 50])
    macs = TimeModel.from_macs(GROUPS)
    assert TimeModel.from_json(macs.to_json()).marginals(FULL) == macs.marginals(FULL)


def test_times_of_another_machine_are_refused_unless_wanted(time, monkeypatch):
    text = time.to_json()
    monkeypatch.setattr(time_model, "processor_name", lambda: "Another")
    with pytest.raises(InputError, match=r"another machine .*this one is Another.*elsewhere=True"):
        TimeModel.from_json(text)
    assert TimeModel.from_json(text, elsewhere=True).seconds(FULL) == time.seconds(FULL)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: [],
        lambda plain: {**plain, "format": 99},
        lambda plain: {key: each for key, each in plain.items() if key != "layers"},
        lambda plain: {**plain, "between": {**plain["between"], "front": -1.0}},
        lambda plain: {**plain, "sizes": None},
        lambda plain: change_curve(plain, kind="spline"),
        lambda plain: change_curve(plain, values=[[[1.0]]]),
        lambda plain: change_curve(plain, input_steps={"quantum": 0, "rule": "whole"}),
        lambda plain: change_curve(plain, inputs=[2.0, 1.0]),
        lambda plain: change_curve(plain, unknown=1),
    ],
)
def test_damaged_json_is_refused(time, damage):
    text = json.dumps(damage(json.loads(time.to_json())))
    for broken in (text, text[:-20]):
        with pytest.raises(InputError, match="measure again"):
            TimeModel.from_json(broken)


def change_curve(plain, **changes):
    plain["layers"][0]["fits"][DENSE]["curve"] |= changes
    return plain


def test_the_report_tells_errors_and_the_break_even(time):
    lines = time.report().splitlines()
    assert lines[0].startswith("time model: batch 32, 1 thread, ")
    assert lines[1].split()[:2] == ["layer", "weights"]
    assert lines[2].split()[:5] == ["0", "64", "x", "40", "dense"]
    assert lines[3].split()[0] == "csr"
    below = float(lines[3].split()[-2])
    assert below == pytest.approx(25.0, abs=2.0)
    assert all(" %" in line for line in lines[2:8])
    assert any(line.startswith("between the layers:") for line in lines)
    assert lines[-1].endswith("predicted 43.8 us, measured 43.8 us (+0.0%)")


@pytest.mark.parametrize("busy", [0.5, 3.0])
def test_what_is_not_consistent_is_measured_anew_and_told(machine, tmp_path, busy):
    machine.busy = busy
    time = TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path)
    layers = [key for key in machine.asked if "overhead" not in key]
    assert layers == 2 * layers[: len(layers) // 2] and len(machine.asked) == len(layers) + 2
    assert not time.is_consistent()
    assert "do not fit together" in time.report() and "times-" in time.report()
    machine.asked.clear()
    machine.busy = 1.0
    assert TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path).is_consistent()
    assert machine.asked
    machine.asked.clear()
    TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path)
    assert not machine.asked
    assert str(time) == time.report()


def test_the_report_says_when_the_model_did_not_run(machine, tmp_path):
    machine.runs = False
    time = TimeModel.measure(GROUPS, 32, threads=1, folder=tmp_path)
    assert time.overhead is None is time.between
    assert "pass example_input" in time.report()
    assert time.seconds(FULL) > 0


def test_progress_is_told(machine, tmp_path):
    told = []
    TimeModel.measure(
        GROUPS, 32, threads=1, folder=tmp_path, progress=lambda *each: told.append(each)
    )
    assert told[-1][0] == told[-1][1]


def test_equal_shapes_share_their_curves(machine, tmp_path):
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    time = TimeModel.measure(groups_of(model, 8), 32, threads=1, folder=tmp_path)
    assert time.layers[1].fits[DENSE] is time.layers[2].fits[DENSE]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch is 0, wanted"),
        ({"batch": 2.5}, "batch is 2.5, wanted"),
        ({"threads": 0}, "threads is 0, wanted"),
        ({"backends": ["dense", "bsr"]}, "wanted 'dense' and perhaps 'csr'"),
        ({"backends": ["csr"]}, "not every layer can be sparse"),
        ({"backends": "csr"}, "backends is 'csr'"),
    ],
)
def test_what_cannot_be_measured_is_refused(machine, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        TimeModel.measure(GROUPS, **options, folder=tmp_path)
    assert not machine.asked


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda time: time.seconds([64, 40]), "widths has 2 numbers, wanted 3"),
        (lambda time: time.seconds([65, 40, 24]), r"widths\[0\] is 65, wanted 0 to 64"),
        (lambda time: time.marginals([64, -1, 24]), r"widths\[1\] is -1"),
        (lambda time: time.seconds(FULL, [1, 2]), "nonzeros has 2 numbers, wanted 3"),
        (lambda time: time.seconds([2, 2, 2], [5, None, None]), "5 non-zeros, wanted 0 to 4"),
        (lambda time: time.seconds(FULL, [-1, 1, 1]), "-1 non-zeros"),
        (lambda time: time.layer_seconds(GROUPS.layers[0], 65, 1), "inputs is 65, wanted 0 to 64"),
        (lambda time: time.backend(GROUPS.layers[0], 1, 41), "outputs is 41"),
        (
            lambda time: time.layer_seconds(GROUPS.layers[0], 1, 1, backend="bsr"),
            "backend is 'bsr', known of layer '0' are 'dense', 'csr'",
        ),
        (
            lambda time: time.backend(groups_of(mlp(32), 32).layers[0], 1, 1),
            "was not measured, known are 0, 2, 4",
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused(time, call, message):
    with pytest.raises(InputError, match=message):
        call(time)


def test_it_is_made_by_keyword_alone_where_the_order_has_changed(time):
    with pytest.raises(TypeError, match="positional"):
        TimeModel(time.batch, time.threads, time.machine, time.sizes, time.layers, None)
    assert time.between is time.overhead
