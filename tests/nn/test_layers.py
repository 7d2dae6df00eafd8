"""The layers against PyTorch in float64, and everything that makes them torch's own layers."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.layers import thinned
from torch import nn

from espalier import InputError
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear

DENSITIES = st.sampled_from([0.0, 0.05, 0.5, 1.0])
Pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def gradients(layer: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    """Output, and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], dy)]


def assert_same(ours: nn.Module, x: torch.Tensor, dy: torch.Tensor, terms: int) -> None:
    """Equal to the layer in float64, up to the rounding of sums of so many terms."""
    exact = copy.deepcopy(ours).double()
    expected = gradients(exact, x.double(), dy.double())
    for result, truth in zip(gradients(ours, x, dy), expected, strict=True):
        scale = max(float(truth.abs().max()), 1.0)
        torch.testing.assert_close(
            result.double(), truth, rtol=0, atol=4 * terms**0.5 * 2**-23 * scale + 1e-7
        )


@settings(max_examples=60)
@given(
    images=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16, 33, 70]),
    filters=st.sampled_from([1, 5, 16, 40]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=Pairs,
    stride=Pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    densities=st.tuples(DENSITIES, DENSITIES),
    clustered=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_convolution_is_that_of_torch(
    images, channels, filters, size, kernel, stride, padding, densities, clustered, bias, seed
):
    torch.manual_seed(seed)
    size = [max(s, k - 2 * p) for s, k, p in zip(size, kernel, padding, strict=True)]
    layer = ZeroSkipConv2d(channels, filters, kernel, stride, padding, bias=bias, passes="zeroskip")
    x = thinned(torch.randn(images, channels, *size), densities[0], clustered)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    dy = thinned(torch.randn(y.shape), densities[1], clustered)
    terms = max(channels * kernel[0] * kernel[1], filters * 9, y.numel())
    assert_same(layer, x, dy, terms)


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    features=st.sampled_from([1, 3, 64, 70]),
    outputs=st.sampled_from([1, 5, 33]),
    densities=st.tuples(DENSITIES, DENSITIES),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_linear_is_that_of_torch(rows, features, outputs, densities, bias, seed):
    torch.manual_seed(seed)
    layer = ZeroSkipLinear(features, outputs, bias=bias, passes="zeroskip")
    x = thinned(torch.randn(*rows, features), densities[0])
    dy = thinned(torch.randn(*rows, outputs), densities[1])
    assert_same(layer, x, dy, max(features, outputs, dy.numel()))


@pytest.mark.parametrize("rule", ["zeroskip", "dense"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_any_layout_of_the_input(rule, layout):
    layer = ZeroSkipConv2d(5, 6, 3, passes=rule)
    x = torch.randn(2, 5, 7, 7).contiguous(memory_format=layout)
    assert_same(layer, x, torch.randn(2, 6, 5, 5), 54 * 10)
    wide = torch.randn(2, 5, 7, 14)[..., ::2]
    assert_same(layer, wide, torch.randn(2, 6, 5, 5), 54 * 10)
    expanded = torch.ones(1).expand(2, 6, 5, 5)
    assert_same(layer, x, expanded, 54 * 10)


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_torchs(dtype):
    x = torch.randn(2, 4, 6, 6, dtype=dtype)
    layer = ZeroSkipConv2d(4, 3, 3, dtype=dtype, passes="zeroskip")
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias))
    assert not layer.choices.sites
    flat = ZeroSkipLinear(6, 3, dtype=dtype, passes="zeroskip")
    torch.testing.assert_close(flat(x), nn.functional.linear(x, flat.weight, flat.bias))
    assert not flat.choices.sites


def test_autocast_is_torchs():
    layer = ZeroSkipConv2d(4, 3, 3, passes="zeroskip")
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 4, 6, 6)).dtype is torch.bfloat16
        assert ZeroSkipLinear(6, 3)(torch.randn(2, 6)).dtype is torch.bfloat16


def test_meta_and_fake_tensors_have_shapes_only():
    layer = ZeroSkipConv2d(4, 3, 3, device="meta", passes="zeroskip")
    assert layer(torch.empty(2, 4, 6, 6, device="meta")).shape == (2, 3, 4, 4)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.empty(2, 4, 6, 6))
        assert ZeroSkipConv2d(4, 3, 3, passes="zeroskip")(fake).shape == (2, 3, 4, 4)


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


def test_unbatched_empty_and_single_vectors():
    layer = ZeroSkipConv2d(4, 3, 3, passes="zeroskip")
    assert layer(torch.randn(4, 6, 6)).shape == (3, 4, 4)
    assert layer(torch.randn(0, 4, 6, 6)).shape == (0, 3, 4, 4)
    flat = ZeroSkipLinear(4, 3, passes="zeroskip")
    assert flat(torch.randn(4)).shape == (3,)
    assert flat(torch.randn(0, 4)).shape == (0, 3)
    assert flat(torch.randn(2, 0, 4)).shape == (2, 0, 3)


def test_state_dict_goes_both_ways():
    torchs, ours = nn.Conv2d(4, 6, 3), ZeroSkipConv2d(4, 6, 3, passes="zeroskip")
    x = torch.randn(2, 4, 6, 6)
    ours.load_state_dict(torchs.state_dict())
    torch.testing.assert_close(ours(x), torchs(x))
    nn.init.ones_(ours.weight)
    torchs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(torchs(x), ours(x))
    assert list(ours.state_dict()) == list(torchs.state_dict())


@pytest.mark.parametrize("layer", [ZeroSkipConv2d(4, 6, 3), ZeroSkipLinear(4, 6)])
def test_copies_choose_anew(layer):
    x = torch.rand(2, 4, 6, 4)
    layer.passes = "zeroskip"
    layer(x)
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    for copied in (copy.deepcopy(layer), torch.load(stream, weights_only=False)):
        assert copied.passes == "zeroskip"
        assert not copied.choices.sites
        assert copied.choices.handle != layer.choices.handle
        torch.testing.assert_close(copied(x), layer(x), rtol=0, atol=0)
    assert len(layer.choices.sites) == 1


def test_infinity_behind_a_zero():
    layer = ZeroSkipLinear(2, 1, bias=False, passes="zeroskip")
    layer.weight.data = torch.tensor([[float("inf"), 2.0]])
    assert layer(torch.tensor([[0.0, 3.0]])).item() == 6.0
    assert torch.isnan(nn.functional.linear(torch.tensor([[0.0, 3.0]]), layer.weight)).all()


def test_no_grad_and_inference_mode():
    layer = ZeroSkipConv2d(4, 6, 3, passes="zeroskip")
    x = torch.randn(2, 4, 6, 6).relu()
    expected = layer(x)
    with torch.no_grad():
        y = layer(x)
    assert not y.requires_grad
    torch.testing.assert_close(y, expected.detach(), rtol=0, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x.clone()), expected.detach(), rtol=0, atol=0)


LAYERS = pytest.mark.parametrize(
    "make", [lambda: ZeroSkipConv2d(4, 6, 3), lambda: ZeroSkipLinear(4, 6)]
)


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
    assert layer.choices.sites


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


def test_weights_that_are_no_parameters():
    layer = ZeroSkipLinear(4, 3, passes="zeroskip")
    x = torch.randn(2, 4)
    weight = torch.randn(3, 4, requires_grad=True)
    y = torch.func.functional_call(layer, {"weight": 2 * weight}, (x,))
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    torch.testing.assert_close(gradient, 2 * x.sum(0).expand(3, 4))
