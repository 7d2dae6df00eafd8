"""The layers against PyTorch in float64, and everything that makes them torch's own layers."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear
from tests.support.layers import assert_same, thinned

DENSITIES = st.sampled_from([0.0, 0.05, 0.5, 1.0])
Pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_torchs(dtype):
    x = torch.randn(2, 4, 6, 6, dtype=dtype)
    layer = ZeroSkipConv2d(4, 3, 3, dtype=dtype, passes="zeroskip")
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias))
    assert not layer.tuner.entries
    flat = ZeroSkipLinear(6, 3, dtype=dtype, passes="zeroskip")
    torch.testing.assert_close(flat(x), nn.functional.linear(x, flat.weight, flat.bias))
    assert not flat.tuner.entries


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
        assert not copied.tuner.entries
        assert copied.tuner.handle != layer.tuner.handle
        torch.testing.assert_close(copied(x), layer(x), rtol=0, atol=0)
    assert len(layer.tuner.entries) == 1


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


def test_weights_that_are_no_parameters():
    layer = ZeroSkipLinear(4, 3, passes="zeroskip")
    x = torch.randn(2, 4)
    weight = torch.randn(3, 4, requires_grad=True)
    y = torch.func.functional_call(layer, {"weight": 2 * weight}, (x,))
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    torch.testing.assert_close(gradient, 2 * x.sum(0).expand(3, 4))


def test_the_tuner_has_its_earlier_names_too():
    layer = ZeroSkipLinear(3, 2)
    layer.adopt("dense")
    assert layer.choices is layer.tuner
    assert layer.passes == "dense"
