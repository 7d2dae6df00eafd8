"""Gradients: by differences, twice, in part, over kept graphs, checkpointed, transformed."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.bitmask import Mask
from tests.support.layers import forced, small_vgg, thinned


def conv(**options):
    return ZeroSkipConv2d(3, 4, 3, stride=2, padding=1, passes="zeroskip", **options)


def linear(**options):
    return ZeroSkipLinear(5, 4, passes="zeroskip", **options)


def sample(layer, dtype=torch.float32):
    shape = (2, 3, 5, 5) if isinstance(layer, nn.Conv2d) else (6, 5)
    return thinned(torch.randn(shape), 0.5).to(dtype)


LAYERS = pytest.mark.parametrize("make", [conv, linear])


@LAYERS
def test_gradcheck_in_float64(make):
    layer = make(dtype=torch.float64)
    x = sample(layer, torch.float64).requires_grad_()

    def function(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    arguments = (x, *layer.parameters())
    assert gradcheck(function, arguments)
    assert gradgradcheck(function, arguments)


@LAYERS
def test_kernels_by_finite_differences(make):
    layer = make()
    x = sample(layer).requires_grad_()
    dy = thinned(torch.randn(layer(x).shape), 0.5)

    def loss(*values):
        names = dict(zip(("weight", "bias"), values[1:], strict=True))
        return (torch.func.functional_call(layer, names, values[:1]).double() * dy).sum()

    values = [x, *layer.parameters()]
    for index, gradient in enumerate(torch.autograd.grad(loss(*values), values)):
        direction = torch.randn(values[index].shape)
        ends = []
        for step in (0.5, -0.5):
            moved = [value.detach() for value in values]
            moved[index] = moved[index] + step * direction
            ends.append(loss(*moved))
        expected = float(ends[0] - ends[1])  # exact for a function that is linear in each
        found = float((gradient.double() * direction).sum())
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@LAYERS
def test_gradient_of_the_gradient(make):
    layer = make()
    dense = copy.deepcopy(layer)
    dense.__class__ = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    x = sample(layer)
    results = []
    for each in (layer, dense):
        inputs = x.detach().requires_grad_()
        loss = each(inputs).square().sum()
        (first,) = torch.autograd.grad(loss, inputs, create_graph=True)
        results.append(torch.autograd.grad(first.pow(3).sum(), [inputs, each.weight]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


@LAYERS
@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias"), ("x",)])
def test_frozen_parts_get_no_gradient(make, frozen):
    layer = make()
    x = sample(layer).requires_grad_("x" not in frozen)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name not in frozen)
    exact = copy.deepcopy(layer).double()
    exact_x = x.detach().double().requires_grad_(x.requires_grad)
    layer(x).square().sum().backward()
    exact(exact_x).square().sum().backward()
    pairs = zip([x, *layer.parameters()], [exact_x, *exact.parameters()], strict=True)
    for ours, truth in pairs:
        assert (ours.grad is None) == (truth.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=1e-4, atol=1e-4)


def test_backward_twice_over_a_kept_graph():
    model = forced(small_vgg())
    loss = model(torch.randn(2, 1, 12, 12)).square().sum()
    loss.backward(retain_graph=True)
    once = [parameter.grad.clone() for parameter in model.parameters()]
    loss.backward()
    for gradient, parameter in zip(once, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient, rtol=0, atol=0)


def test_input_changed_before_backward_is_noticed():
    layer = conv()
    x = torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    y = layer(x)
    x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@LAYERS
@pytest.mark.parametrize("names", [("x",), ("weight",), ("bias",), ("x", "bias")])
def test_only_the_gradients_asked_for_are_computed(make, names, monkeypatch):
    layer = make()
    x = sample(layer).requires_grad_()
    computed, kind = [], type(layer.op_of(layer))
    for method in ("backward_input", "backward_weight", "backward_bias"):
        whole = getattr(kind, method)

        def spy(*args, method=method, whole=whole, **kwargs):
            computed.append(method)
            return whole(*args, **kwargs)

        monkeypatch.setattr(kind, method, spy)
    tensors = {"x": x, "weight": layer.weight, "bias": layer.bias}
    gradients = torch.autograd.grad(layer(x).sum(), [tensors[name] for name in names])
    methods = {"x": "backward_input", "weight": "backward_weight", "bias": "backward_bias"}
    assert set(computed) == {methods[name] for name in names}
    layer(x).sum().backward()
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(gradient, tensors[name].grad, rtol=0, atol=0)


@LAYERS
def test_saved_tensors_may_come_back_in_another_layout(make):
    layer = make()
    x = sample(layer).requires_grad_()
    layer(x).sum().backward()
    expected = x.grad.clone(), layer.weight.grad.clone()
    layer.zero_grad()
    x.grad = None

    def turned(tensor):
        return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor

    with torch.autograd.graph.saved_tensors_hooks(turned, lambda tensor: tensor):
        y = layer(x)
    y.sum().backward()
    torch.testing.assert_close((x.grad, layer.weight.grad), expected, rtol=0, atol=0)


def test_masks_go_with_the_graph(monkeypatch):
    whole, bits = Mask.__init__, []

    def spy(self, array, channels):
        bits.append(weakref.ref(array))
        whole(self, array, channels)

    monkeypatch.setattr(Mask, "__init__", spy)
    loss = nn.Sequential(linear(), ZeroSkipReLU(), nn.Linear(4, 3))(torch.randn(6, 5)).sum()
    alive = [each for each in bits if each() is not None]
    assert len(alive) == 2
    loss.backward()
    assert not [each for each in bits if each() is not None]


def test_a_variant_that_changes_meanwhile_leaves_out_nothing():
    class Flips:
        """Stands in for the tuner of a pass that another thread is changing."""

        def __init__(self):
            self.read = 0

        @property
        def variant(self):
            self.read += 1
            return "gradient" if self.read == 1 else "needed"

        def best(self, densities):
            return "gradient"

    layer = linear()
    x = (torch.randn(6, 5, requires_grad=True).relu() * 1.0).detach().requires_grad_()
    layer(x).sum().backward()
    y = layer(x)  # a call that samples no densities
    layer.tuner.entries[0].backward_input = Flips()
    x.grad = None
    y.sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("rule", ["zeroskip", "measured"])
def test_checkpoints_compute_the_same(rule, reentrant):
    model = forced(small_vgg(), rule)
    for _ in range(18):  # past a call that samples densities, and between two that do not
        x = torch.randn(2, 1, 12, 12, requires_grad=True)
        model.zero_grad()
        model(x).square().sum().backward()
        plain = [parameter.grad for parameter in model.parameters()]
        model.zero_grad()
        x = x.detach().requires_grad_()
        checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
        again = [parameter.grad for parameter in model.parameters()]
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_survives_a_variant_that_changes_before_its_backward_pass():
    layer = ZeroSkipLinear(5, 4, passes="dense")
    x = sample(layer).requires_grad_()
    layer(x)  # the call that samples
    for now in ("dense", "input", "dense"):
        y = checkpoint(layer, x, use_reentrant=False)
        layer.tuner.entries[0].forward.variant = now
        y.sum().backward()
    torch.testing.assert_close(x.grad, 3 * layer.weight.sum(0).expand(6, 5))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_functional_transforms_are_torchs():
    layer = linear()
    dense = nn.Linear(5, 4)
    dense.load_state_dict(layer.state_dict())
    x = torch.randn(3, 5)
    for transform in (
        lambda f: torch.vmap(f)(x),
        lambda f: torch.func.jacrev(f)(x),
        lambda f: torch.func.jvp(f, (x,), (torch.ones(3, 5),))[1],
        lambda f: torch.func.grad(lambda x: f(x).square().sum())(x),
    ):
        torch.testing.assert_close(transform(layer), transform(dense))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones(3, 5))
        tangents = [forward_ad.unpack_dual(each(dual)).tangent for each in (layer, dense)]
    torch.testing.assert_close(*tangents)


def test_batched_gradients_are_torchs():
    model = nn.Sequential(linear(), ZeroSkipReLU())
    x = torch.randn(3, 5, requires_grad=True)
    y = model(x)
    dys = torch.randn(7, *y.shape)
    (batched,) = torch.autograd.grad(y, x, dys, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(y, x, dy, retain_graph=True)[0] for dy in dys]
    torch.testing.assert_close(batched, torch.stack(one_by_one))


def test_subclasses_of_tensor_are_torchs():
    class Tagged(torch.Tensor):
        pass

    layer = linear()
    assert type(layer(torch.randn(3, 5).as_subclass(Tagged))) is Tagged
    assert type(ZeroSkipReLU()(torch.randn(3, 5).as_subclass(Tagged))) is Tagged
    assert not layer.tuner.entries


def test_dispatch_modes_see_every_operator():
    from torch.utils.flop_counter import FlopCounterMode

    layer = linear()
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(3, 5))
    assert counter.get_total_flops() == 2 * 3 * 5 * 4


def test_hooks_run():
    layer, seen = linear(), []
    layer.register_forward_pre_hook(lambda *_: seen.append("before"))
    layer.register_forward_hook(lambda *_: seen.append("after"))
    layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    layer.weight.register_hook(lambda _: seen.append("weight"))
    layer(torch.randn(3, 5, requires_grad=True)).sum().backward()
    assert seen == ["before", "after", "weight", "backward"]


def test_tracing_records_torchs_operators():
    layer = conv()
    x = torch.randn(2, 3, 5, 5)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        traced = torch.jit.trace(layer, x)
    torch.testing.assert_close(traced(x), layer(x), rtol=1e-4, atol=1e-5)
