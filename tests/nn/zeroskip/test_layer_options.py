"""Options in every form that PyTorch takes, errors that it raises, and uses of a layer's output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier import InputError
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear
from tests.support.layers import assert_same

LAYERS = pytest.mark.parametrize(
    "make", [lambda: ZeroSkipConv2d(4, 6, 3), lambda: ZeroSkipLinear(4, 6)]
)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "options",
    [
        {"dilation": 2},
        {"groups": 2},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": "same"},
        {"padding": "valid", "stride": 2},
        {"kernel_size": (2, 4), "padding": "same"},
        {"kernel_size": (5, 1), "padding": "same"},
    ],
)
def test_options_that_the_kernels_do_not_take(options):
    options = {"kernel_size": 3, "passes": "zeroskip", **options}
    layer = ZeroSkipConv2d(4, 6, **options)
    x = torch.randn(2, 4, 9, 9)
    assert_same(layer, x, torch.randn(layer(x).shape), 500)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 5, 6, 6), "expected input.* to have 4 channels, but got 5"),
        (torch.zeros(2, 4, 2, 2), "Kernel size can't be greater than actual input size"),
        (torch.zeros(2, 4), "Expected 3D.* or 4D"),
        (torch.zeros(2, 4, 6, 6, dtype=torch.float64), "should be the same|same dtype|type"),
    ],
)
def test_bad_inputs_raise_what_torch_raises(x, message):
    layers = nn.Conv2d(4, 3, 3), ZeroSkipConv2d(4, 3, 3, passes="zeroskip")
    for layer in layers:
        with pytest.raises(RuntimeError, match=message):
            layer(x)


def test_bad_inputs_of_linear_raise_what_torch_raises():
    for layer in (nn.Linear(4, 3), ZeroSkipLinear(4, 3, passes="zeroskip")):
        with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
            layer(torch.zeros(2, 5))


def test_unknown_passes():
    with pytest.raises(InputError, match="passes is 'sparse', wanted one of measured, zeroskip"):
        ZeroSkipConv2d(1, 1, 1, passes="sparse")
    with pytest.raises(InputError, match="passes is 7"):
        ZeroSkipLinear(1, 1).passes = 7


@LAYERS
def test_changes_in_place_behind_a_layer(make):
    layer = make()
    layer.passes = "zeroskip"
    x = torch.randn(2, 4, 6, 4)
    y = layer(x)
    y += 1.0
    y.sum().backward()
    expected = layer.bias.grad.clone()
    layer.zero_grad()
    nn.Sequential(layer, nn.Identity())(x).sum().backward()
    torch.testing.assert_close(layer.bias.grad, expected, rtol=0, atol=0)
    y = nn.Sequential(layer, nn.ReLU(inplace=True))(x)
    torch.testing.assert_close(y, layer(x).relu(), rtol=0, atol=0)
    y.sum().backward()
    with torch.no_grad():
        y = layer(x)
    scale = torch.ones(1, requires_grad=True)
    y *= scale
    y.sum().backward()
    torch.testing.assert_close(scale.grad, layer(x).sum().detach().reshape(1))


@LAYERS
def test_symbolic_traces_hold_torchs_operators(make):
    layer = make()
    layer.passes = "zeroskip"
    x = torch.randn(2, 4, 6, 4)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer))
    torch.testing.assert_close(traced(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"stride": 2}, {"stride": [2]}, {"padding": [1, 1]}, {"padding": (1,)}, {"dilation": 1}],
)
def test_options_set_later_in_any_form_that_torch_takes(options):
    layer = ZeroSkipConv2d(4, 3, 3, passes="zeroskip")
    for name, value in options.items():
        setattr(layer, name, value)
    x = torch.randn(2, 4, 7, 7)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, *layer.parameters(), **options))
    assert layer.tuner.entries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "non-positive stride"),
        ({"stride": (1, -1)}, "non-positive stride"),
        ({"padding": -1}, "negative padding"),
        ({"padding": (1, 2, 3)}, "padding"),
    ],
)
def test_options_that_torch_refuses(options, message):
    for kind in (nn.Conv2d, ZeroSkipConv2d):
        layer = kind(4, 3, 3, **options)
        with pytest.raises(RuntimeError, match=message):
            layer(torch.randn(2, 4, 7, 7))
