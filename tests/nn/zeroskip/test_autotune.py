"""Tuners with made-up latencies: the cheapest variant wins, wavering densities change nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.autotune import MARGIN, SAMPLE_EVERY, LayerTuner, cheapest, could_gain
from espalier.nn.zeroskip.latency import DENSE, VARIANTS
from espalier.nn.zeroskip.ops import Linear
from tests.support.layers import MadeUpLatencies, line, thinned

# Of a variant that takes twice its density: as slow as dense at one half.
BREAK_EVEN_AT_HALF = {"input": 2.0, "gradient": 2.0, "needed": 2.0}


def choose(densities, current=DENSE, factors=BREAK_EVEN_AT_HALF):
    return cheapest(line("backward_input", factors), densities, current)


def test_the_cheapest_wins():
    assert choose({"gradient": 0.2, "needed": 0.4}) == "gradient"
    assert choose({"gradient": 0.4, "needed": 0.2}) == "needed"
    assert choose({"gradient": 0.9, "needed": 0.6}) == DENSE
    assert choose({}) == DENSE


def test_a_gain_below_the_margin_changes_nothing():
    assert choose({"gradient": 0.49}) == DENSE
    assert choose({"gradient": 0.49}, "gradient") == "gradient"
    assert choose({"gradient": 0.30, "needed": 0.295}, "gradient") == "gradient"
    assert choose({"gradient": 0.30, "needed": 0.2}, "gradient") == "needed"


def test_never_knowingly_slower_than_dense():
    assert choose({"gradient": 0.51}, "gradient") == DENSE
    assert choose({"gradient": 0.51, "needed": 0.49}, "gradient") == DENSE
    assert choose({"gradient": 0.51, "needed": 0.3}, "gradient") == "needed"
    assert choose({"gradient": 0.51}, "needed") == DENSE


@given(
    densities=st.fixed_dictionaries({"gradient": st.floats(0, 1), "needed": st.floats(0, 1)}),
    current=st.sampled_from([DENSE, "gradient", "needed"]),
)
def test_what_is_chosen_stays_chosen_and_is_nearly_the_best(densities, current):
    curve = line("backward_input", BREAK_EVEN_AT_HALF)
    chosen = cheapest(curve, densities, current)
    assert cheapest(curve, densities, chosen) == chosen

    def seconds(name):
        return curve.seconds(name, densities.get(name, 1.0))

    best = min(seconds(name) for name in (DENSE, *densities))
    assert seconds(chosen) * (1 - MARGIN) <= best
    assert seconds(chosen) <= seconds(DENSE)


@given(st.lists(st.floats(0.478, 0.498), min_size=2, max_size=50))
def test_wavering_densities_do_not_flip_the_choice(densities):
    curve, current, seen = line("forward", BREAK_EVEN_AT_HALF), DENSE, []
    for density in densities:
        current = cheapest(curve, {"input": density}, current)
        seen.append(current)
    assert seen == [DENSE] * len(seen)


def test_could_gain():
    curve = line("backward_input", {"gradient": 9.0, "needed": 20.0})
    assert could_gain(curve, {"gradient"})
    assert not could_gain(curve, {"needed"})
    assert not could_gain(curve, {"input"})


def layer_with(latencies, **options):
    layer = ZeroSkipLinear(64, 64, **options)
    layer.tuner = LayerTuner(latencies=latencies)
    return layer


def variants(layer):
    return [tuner.variant for tuner in layer.tuner.entries[0].tuners]


@pytest.mark.parametrize(
    ("of_x", "of_dy", "expected"),
    [
        (0.1, 0.9, ["input", "dense", "input"]),
        (0.9, 0.1, ["dense", "gradient", "gradient"]),
        (0.2, 0.05, ["input", "gradient", "gradient"]),
        (0.9, 0.9, ["dense", "dense", "dense"]),
    ],
)
def test_each_pass_chooses_by_its_own_operands(of_x, of_dy, expected):
    layer = layer_with(MadeUpLatencies(BREAK_EVEN_AT_HALF))
    x = thinned(torch.rand(256, 64), of_x).requires_grad_()
    layer(x).backward(thinned(torch.rand(256, 64), of_dy))
    assert variants(layer) == expected


def test_the_choice_follows_the_density():
    layer = layer_with(MadeUpLatencies(BREAK_EVEN_AT_HALF))

    def step(density):
        x = thinned(torch.rand(64, 64), density).requires_grad_()
        layer(x).backward(torch.ones(64, 64))
        return variants(layer)[0]

    drift = [0.9] * SAMPLE_EVERY + [0.2] * SAMPLE_EVERY + [0.9]
    assert [step(density) for density in drift] == (
        ["dense"] * SAMPLE_EVERY + ["input"] * SAMPLE_EVERY + ["dense"]
    )


def test_a_dense_layer_runs_torchs_operator_between_samples():
    layer = layer_with(MadeUpLatencies({"input": 99.0, "gradient": 99.0, "needed": 99.0}))
    x = torch.rand(8, 64)
    nodes = [type(layer(x).grad_fn).__name__ for _ in range(SAMPLE_EVERY + 2)]
    assert nodes[0] == nodes[SAMPLE_EVERY] == "_ZeroSkipBackward"
    assert {*nodes[1:SAMPLE_EVERY], nodes[-1]} == {"AddmmBackward0"}


def test_without_gradients_only_the_forward_pass_counts():
    latencies = MadeUpLatencies(BREAK_EVEN_AT_HALF)
    layer = layer_with(latencies)
    with torch.no_grad():
        layer(thinned(torch.rand(64, 64), 0.1))
    assert variants(layer) == ["input", "dense", "dense"]
    assert {name for _, name in latencies.asked} == {"forward"}


def test_a_mask_gives_the_exact_density():
    layer = layer_with(MadeUpLatencies())
    x = torch.zeros(5000, 64)
    x[1] = 1.0  # a row that no sample of rows would meet
    layer(ZeroSkipReLU()(x))
    assert layer.tuner.entries[0].forward.densities == {"input": pytest.approx(1 / 5000)}


def test_shapes_choose_for_themselves():
    layer = ZeroSkipConv2d(4, 4, 3, padding=1)
    layer.tuner = LayerTuner(latencies=MadeUpLatencies(BREAK_EVEN_AT_HALF))
    layer(thinned(torch.rand(2, 4, 8, 8), 0.1))
    layer(torch.rand(2, 4, 32, 32))
    assert [entry.forward.variant for entry in layer.tuner.entries] == ["input", "dense"]


def test_shapes_close_to_each_other_share_an_entry():
    tuner = LayerTuner(latencies=MadeUpLatencies())
    weight = torch.Size((64, 64))
    for rows in range(64, 128):
        tuner.entry(Linear(), torch.Size((rows, 64)), weight, 1)
    assert len(tuner.entries) == 1
    for rows in range(1, 3000):
        tuner.entry(Linear(), torch.Size((rows, 64)), weight, 1)
    assert len(tuner._by_shape) <= 256
    assert len(tuner.entries) == 12  # powers of two


def test_a_handle_finds_its_tuner_while_it_lives():
    tuner = LayerTuner("dense")
    handle = tuner.handle
    assert LayerTuner.of(handle) is tuner
    del tuner
    assert LayerTuner.of(handle) is None


@pytest.mark.parametrize("rule", ["dense", "zeroskip"])
def test_forced_passes_measure_nothing(rule, monkeypatch):
    monkeypatch.setattr("espalier.nn.zeroskip.measure.measure", lambda *_: pytest.fail("measured"))
    layer = ZeroSkipConv2d(4, 4, 3, passes=rule)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), layer)
    model(torch.randn(2, 4, 6, 6)).sum().backward()
    skipping = [variant != "dense" for variant in variants(layer)]
    assert skipping == [rule == "zeroskip"] * len(VARIANTS)
