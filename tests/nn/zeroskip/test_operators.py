"""The operators of torch.library, and compiled programs that call them."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn
from torch.library import opcheck

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear
from espalier.nn.zeroskip.autotune import LayerTuner
from tests.support.layers import forced, small_vgg, thinned

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")


def arguments(name):
    if name == "convolution":
        layer = ZeroSkipConv2d(3, 4, 3, stride=2, padding=1, passes="zeroskip")
        return layer, thinned(torch.randn(2, 3, 5, 5), 0.5), [(2, 2), (1, 1)]
    return ZeroSkipLinear(5, 4, passes="zeroskip"), thinned(torch.randn(6, 5), 0.5), []


@pytest.mark.parametrize("name", ["convolution", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(name, dtype):
    layer, x, options = arguments(name)
    layer.to(dtype)
    x = x.to(dtype).requires_grad_()
    operator = getattr(torch.ops.espalier, name)
    opcheck(operator, (x, layer.weight, layer.bias, *options, layer.tuner.handle))
    opcheck(operator, (x.detach(), layer.weight.detach(), None, *options, 0))
    backward = getattr(torch.ops.espalier, f"{name}_backward")
    dy = torch.randn(layer(x).shape, dtype=dtype)
    for needed in ([True, True, True], [False, True, False]):
        weight = layer.weight.detach()
        opcheck(backward, (dy, x.detach(), weight, *options, layer.tuner.handle, needed))


@pytest.mark.parametrize("name", ["convolution", "linear"])
def test_operators_of_a_layer_that_is_gone_are_torchs(name):
    layer, x, options = arguments(name)
    expected = layer(x)
    weight, handle = layer.weight.detach().requires_grad_(), layer.tuner.handle
    operator = getattr(torch.ops.espalier, name)
    bias = layer.bias
    del layer
    y = operator(x, weight, bias, *options, handle)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    y.sum().backward()
    assert weight.grad is not None
    assert LayerTuner.of(handle) is None


@pytest.mark.parametrize("name", ["convolution", "linear"])
def test_gradient_of_an_operators_gradient(name):
    layer, x, options = arguments(name)
    x.requires_grad_()
    operator = getattr(torch.ops.espalier, name)
    found = []
    for y in (operator(x, layer.weight, layer.bias, *options, layer.tuner.handle), layer(x)):
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), layer.weight))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("backend", "batch_norm"),
    [
        ("aot_eager", False),
        ("aot_eager", True),
        pytest.param("inductor", True, marks=needs_compiler),
    ],
)
def test_compiled_training_step(backend, batch_norm):
    torch.compiler.reset()
    model = forced(small_vgg(batch_norm))
    eager = copy.deepcopy(model)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for _ in range(2):
        x = torch.randn(4, 1, 12, 12)
        results = []
        for run, owner in ((compiled, model), (eager, eager)):
            y = run(x)
            owner.zero_grad()
            y.square().sum().backward()
            results.append([y.detach(), *(each.grad for each in owner.parameters())])
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)
    entries = [m.tuner.entries[0] for m in model.modules() if hasattr(m, "tuner")]
    assert [entry.calls for entry in entries] == [2] * 5
    assert entries[1].forward.variant == "input"
    assert entries[1].backward_input.variant == "gradient"
    assert entries[1].backward_weight.variant in ("input", "gradient")


@pytest.mark.slow
def test_compiled_inference_of_other_shapes():
    torch.compiler.reset()
    model = forced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for shape in ((2, 3, 8, 8), (3, 3, 9, 8), (5, 3, 12, 13)):
            x = torch.randn(shape)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled_programs_of_other_types_are_torchs():
    torch.compiler.reset()
    model = forced(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    assert not model[0].tuner.entries


@pytest.mark.slow
def test_exported_programs_hold_torchs_operators_only():
    model = forced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    x = torch.randn(2, 3, 8, 8)
    program = torch.export.export(model, (x,))
    assert "espalier" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
