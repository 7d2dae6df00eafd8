"""The report names what was seen, chosen and gained."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import espalier as esp
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear
from espalier.nn.zeroskip.autotune import LayerTuner
from tests.support.layers import MadeUpLatencies, thinned


@pytest.fixture
def model():
    made = nn.Sequential(ZeroSkipLinear(64, 64), nn.Sequential(nn.ReLU(), ZeroSkipLinear(64, 2)))
    for layer in (made[0], made[1][1]):
        layer.tuner = LayerTuner(latencies=MadeUpLatencies({"input": 2.0, "gradient": 8.0}))
    x = thinned(torch.rand(512, 64), 0.25).requires_grad_()
    for _ in range(3):
        made(x).backward(torch.ones(512, 2))
    return made


def test_each_pass_has_a_line(model):
    passes = esp.model_report(model).passes
    assert [(entry.layer, entry.pass_name) for entry in passes] == [
        (layer, name)
        for layer in ("0", "1.1")
        for name in ("forward", "backward_input", "backward_weight")
    ]
    forward = passes[0]
    assert forward.choice == "input"
    assert forward.calls == 3
    assert forward.shape == (512, 64)
    assert forward.densities["input"] == pytest.approx(0.25, abs=0.03)
    assert forward.gain == pytest.approx(1 / (2 * forward.densities["input"]))
    assert passes[1].choice == "dense"
    assert passes[1].gain == 1.0


def test_as_a_table_and_as_json(model):
    report = esp.model_report(model)
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "input", "pass", "density", "choice", "gain", "calls"]
    assert len(lines) == 1 + len(report.passes)
    assert "512x64" in lines[1]
    assert "2.0" in lines[1] or "1.9" in lines[1]
    assert json.loads(json.dumps(report.to_dict()))["passes"][0]["choice"] == "input"


def test_images_have_four_numbers():
    layer = ZeroSkipConv2d(4, 4, 3, passes="zeroskip")
    layer.tuner = LayerTuner("zeroskip", MadeUpLatencies())
    layer(torch.rand(2, 4, 6, 7))
    assert esp.model_report(layer).passes[0].shape == (2, 4, 6, 7)


def test_forced_passes_have_no_gain_and_measure_nothing():
    latencies = MadeUpLatencies()
    layer = ZeroSkipLinear(4, 4)
    layer.tuner = LayerTuner("zeroskip", latencies)
    layer(torch.rand(2, 4)).sum().backward()
    report = esp.model_report(layer)
    assert {entry.gain for entry in report.passes} == {None}
    assert str(report).splitlines()[1].split()[-2] == "-"
    assert not latencies.asked


def test_nothing_to_report():
    assert str(esp.model_report(ZeroSkipLinear(2, 2))).startswith("layers that may skip zeros: 1;")
    assert "no layer of this model skips zeros" in str(esp.model_report(torch.nn.Linear(2, 2)))


def test_no_module():
    with pytest.raises(esp.InputError, match=r"model is a int, wanted a torch\.nn\.Module"):
        esp.model_report(3)
