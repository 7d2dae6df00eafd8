"""ReLU with a mask: torch's numbers, and a mask that is there exactly as long as it is true."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import espalier.nn.zeroskip.relu as relu_module
from espalier.kernels import nonzero_mask
from espalier.nn import ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.bitmask import Mask, attach, attached, sampled_density

nan = float("nan")


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    layout=st.sampled_from(["plain", "channels_last", "strided"]),
    inplace=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_numbers_and_gradients_of_torch(shape, layout, inplace, seed):
    torch.manual_seed(seed)
    x = torch.randn(shape)
    if layout == "channels_last" and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        x = torch.randn(*shape, 2)[..., 0]
    dy = torch.randn(shape)
    results = []
    for kind in (nn.ReLU, ZeroSkipReLU):
        leaf = x.clone().requires_grad_()
        given_x = leaf.clone()
        y = kind(inplace)(given_x)
        assert (y is given_x) == inplace
        (dx,) = torch.autograd.grad(y, leaf, dy)
        results.append((y.detach(), dx))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_nan_and_negative_zero():
    x = torch.tensor([[nan, -0.0, -1.0, 2.0, float("inf"), -float("inf")]], requires_grad=True)
    y = ZeroSkipReLU()(x)
    torch.testing.assert_close(y, torch.relu(x), rtol=0, atol=0, equal_nan=True)
    y.backward(torch.ones_like(y))
    assert x.grad.tolist() == [[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("shape", [(2, 70, 3, 3), (4, 70)])
def test_output_carries_its_mask(shape, inplace):
    x = torch.randn(shape)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    y = ZeroSkipReLU(inplace)(x)
    rows = y.permute(0, 2, 3, 1) if y.dim() == 4 else y
    mask = attached(y, 70)
    assert (mask.bits == nonzero_mask(rows.numpy())).all()
    assert mask.density == pytest.approx(float((y != 0).double().mean()))
    assert attached(y, shape[-1] + 1) is None


def new_data(y):
    y.data = y.data + 1.0


@pytest.mark.parametrize(
    "change", [lambda y: y.add_(1.0), lambda y: y[0].zero_(), torch.relu_, new_data]
)
def test_mask_of_a_changed_tensor_is_stale(change):
    y = ZeroSkipReLU()(torch.randn(4, 70))
    assert attached(y, 70) is not None
    change(y)
    assert attached(y, 70) is None


def test_layer_after_a_change_reads_the_new_values():
    layer = ZeroSkipLinear(6, 3, passes="zeroskip")
    y = ZeroSkipReLU()(-torch.rand(4, 6))
    y.add_(1.0)
    torch.testing.assert_close(layer(y), nn.functional.linear(y, layer.weight, layer.bias))


def test_copies_and_files_have_no_mask():
    y = ZeroSkipReLU()(torch.randn(4, 70))
    stream = io.BytesIO()
    torch.save(y, stream)
    stream.seek(0)
    for other in (copy.deepcopy(y), copy.copy(y), torch.load(stream, weights_only=True), y.clone()):
        other.add_(1.0)
        assert attached(other, 70) is None


def test_no_mask_where_torch_does_the_work():
    assert attached(ZeroSkipReLU()(torch.randn(2, 4, dtype=torch.float64)), 4) is None
    with torch.inference_mode():
        assert attached(ZeroSkipReLU()(torch.randn(2, 4)), 4) is None


def test_mask_of_another_order_of_entries_is_not_taken():
    plain = ZeroSkipReLU()(torch.randn(2, 3, 4, 3))
    layer = ZeroSkipLinear(3, 2, passes="zeroskip")
    assert attached(plain, 3) is not None
    turned = ZeroSkipReLU()(torch.randn(2, 3, 4, 3).contiguous(memory_format=torch.channels_last))
    expected = nn.functional.linear(turned, layer.weight, layer.bias)
    torch.testing.assert_close(layer(turned), expected)


def gradient_seen_before(relu_input_hook, dy):
    """The gradient that reaches the layer before a ReLU."""
    x = torch.randn(8, 70, requires_grad=True)
    z = x * 1.0
    z.register_hook(relu_input_hook)
    ZeroSkipReLU()(z).backward(dy)
    return x.grad


def test_gradient_carries_the_mask_if_that_says_all():
    seen = []
    gradient_seen_before(lambda dz: seen.append((dz, attached(dz, 70))), torch.randn(8, 70))
    dz, mask = seen[0]
    assert (mask.bits == nonzero_mask(dz.numpy())).all()
    gradient_seen_before(lambda dz: seen.append((dz, attached(dz, 70))), torch.eye(8, 70))
    assert seen[1][1] is None  # a scan will find more zeros than the ReLU's mask knows


def test_sum_of_gradients_has_no_mask():
    seen = []
    x = torch.randn(8, 70, requires_grad=True)
    z = x * 1.0
    z.register_hook(lambda dz: seen.append(attached(dz, 70)))
    (ZeroSkipReLU()(z) * 2.0 + z).sum().backward()
    assert seen == [None]
    torch.testing.assert_close(x.grad, 1.0 + 2.0 * (x > 0))


def test_the_layer_before_scans_nothing(monkeypatch):
    model = nn.Sequential(
        ZeroSkipLinear(8, 70, passes="zeroskip"),
        ZeroSkipReLU(),
        ZeroSkipLinear(70, 4, passes="zeroskip"),
    )
    scanned = []
    whole = Mask.of.__func__

    def scan(cls, rows, threads):
        scanned.append(rows.shape)
        return whole(cls, rows, threads)

    monkeypatch.setattr(Mask, "of", classmethod(scan))
    model(torch.randn(16, 8)).backward(torch.randn(16, 4))
    assert (16, 70) not in scanned


def test_gradient_of_the_gradient():
    x = torch.randn(3, 4, dtype=torch.float32, requires_grad=True)
    (first,) = torch.autograd.grad(ZeroSkipReLU()(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, 6 * x.detach().relu())


def test_gradient_of_the_gradient_under_another_default_type():
    x = torch.randn(3, 4, requires_grad=True)
    torch.set_default_dtype(torch.float64)
    try:
        y = ZeroSkipReLU()(x)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(first, 3 * x.relu().square())


def test_changes_in_place_behind_it():
    x = torch.randn(3, 4, requires_grad=True)
    y = ZeroSkipReLU()(x)
    y += 1.0
    y.sum().backward()
    torch.testing.assert_close(x.grad, (x > 0).float())
    scale = torch.ones(1, requires_grad=True)
    with torch.no_grad():
        y = ZeroSkipReLU()(x)
    y *= scale
    y.sum().backward()
    torch.testing.assert_close(scale.grad, x.relu().sum().detach().reshape(1))


def test_inference_mode_scans_nothing(monkeypatch):
    monkeypatch.setattr(relu_module, "relu_forward", None)
    with torch.inference_mode():
        assert ZeroSkipReLU()(torch.tensor([[-1.0, 2.0]])).tolist() == [[0.0, 2.0]]


def test_a_second_backward_pass_needs_a_kept_graph():
    loss = ZeroSkipReLU()(torch.randn(3, 4, requires_grad=True)).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_in_place_on_a_leaf_and_on_views():
    leaf = torch.randn(3, 4, requires_grad=True)
    before = leaf.detach().clone()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        ZeroSkipReLU(inplace=True)(leaf)
    assert torch.equal(leaf, before)
    x = torch.randn(4, 3, requires_grad=True)
    base = x * 1.0
    ZeroSkipReLU(inplace=True)(base[:2])
    base.sum().backward()
    expected = torch.ones(4, 3)
    expected[:2] = (x[:2] > 0).float()
    torch.testing.assert_close(x.grad, expected)


def test_empty_and_scalar_tensors():
    assert ZeroSkipReLU()(torch.zeros(0, 3)).shape == (0, 3)
    assert ZeroSkipReLU()(torch.tensor(-1.0)).item() == 0.0


def test_sampled_density_of_regular_patterns():
    rows = torch.zeros(64, 64, 16)
    rows[:, ::2] = 1.0  # every other column of every image row
    assert sampled_density(rows.numpy()) == pytest.approx(0.5, abs=0.05)
    assert sampled_density(torch.zeros(3, 5).numpy()) == 0.0


def test_a_mask_attached_by_hand():
    x = torch.eye(3)
    attach(x, Mask.of(x.numpy(), 1))
    assert attached(x, 3).density == pytest.approx(1 / 3)
    assert relu_module._layout_of(torch.zeros(2, 3).t()) is None
