"""Whoever reads the gradient of an input, or of what it was made from, sees all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.dead_gradient import is_stopped_at_zero
from tests.support.layers import images, only_needed


def gradient_by_input(layer, x, reader):
    """What somebody who reads the gradient of x sees."""
    seen = []
    reader(x, seen)
    y = layer(x)
    y.backward(torch.ones(y.shape))
    return seen[0] if seen else x.grad


@pytest.mark.parametrize(
    "reader",
    [
        lambda x, seen: x.retain_grad(),
        lambda x, seen: x.register_hook(seen.append),
    ],
)
def test_whoever_reads_at_the_gradient_sees_all_of_it(reader):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    layer(images().relu()).sum().backward()
    assert layer.tuner.entries[0].backward_input.variant == "needed"
    x = images().relu()
    gradient = gradient_by_input(layer, x, reader)
    assert (gradient[x == 0] != 0).all()


def retained(y, seen):
    y.retain_grad()
    return lambda: seen.append(y.grad)


def hooked(y, seen):
    y.register_hook(seen.append)
    return lambda: None


RELUS = pytest.mark.parametrize("relu", [functional.relu, ZeroSkipReLU()])
STEPS = pytest.mark.parametrize(
    "step",
    [
        lambda y: functional.max_pool2d(y, 2),
        lambda y: functional.adaptive_max_pool2d(y, 4),
        lambda y: y[:1],
        lambda y: functional.max_pool2d(functional.max_pool2d(y, 2), 2)[:1],
    ],
)


@RELUS
@STEPS
@pytest.mark.parametrize("reader", [retained, hooked])
def test_whoever_reads_between_the_relu_and_the_layer_sees_all_of_it(relu, step, reader):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    dense = nn.Conv2d(4, 5, 3, padding=1)
    dense.load_state_dict(layer.state_dict())
    seen = []
    for each in (layer, dense):
        y = relu(images())
        read = reader(y, seen)
        each(step(y)).sum().backward()
        read()
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-5)


@RELUS
@STEPS
def test_backward_to_named_inputs_gives_all_of_their_gradients(relu, step):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    dense = nn.Conv2d(4, 5, 3, padding=1)
    dense.load_state_dict(layer.state_dict())
    found = []
    for each in (layer, dense):
        y = relu(images())
        each(step(y)).sum().backward(inputs=[y, each.weight])
        found.append(y.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", [lambda y: y, lambda y: functional.max_pool2d(y, 2)])
@pytest.mark.parametrize("where", ["checkpoint", "hooks"])
def test_a_hook_on_a_tensor_that_is_saved_elsewhere_sees_all_of_it(where, step):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    dense = nn.Conv2d(4, 5, 3, padding=1)
    dense.load_state_dict(layer.state_dict())
    found = []

    def run(each, z, seen):
        y = z.relu()
        y.register_hook(seen.append)
        return each(step(y))

    for each in (layer, dense):
        seen = []
        if where == "checkpoint":
            out = checkpoint(run, each, images(), seen, use_reentrant=False)
        else:
            with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
                out = run(each, images(), seen)
        out.sum().backward()
        found.append(seen[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_a_hook_on_a_view_that_a_linear_layer_flattens_sees_all_of_it():
    layer = only_needed(ZeroSkipLinear(4, 5))
    v = torch.randn(6, 4, requires_grad=True).relu().view(3, 2, 4)
    v.retain_grad()
    layer(v).sum().backward()
    assert (v.grad[v == 0] != 0).all()


def test_a_graph_of_which_a_part_is_gone():
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    x = functional.max_pool2d(images().relu(), 2)
    y = layer(x)
    x.sum().backward()
    y.sum().backward(inputs=[layer.weight])
    assert not is_stopped_at_zero(x)


def test_a_hook_registered_after_the_forward_pass_sees_all_of_it():
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    x = images().relu()
    y = layer(x)
    x.retain_grad()
    y.sum().backward()
    assert (x.grad[x == 0] != 0).all()


def test_a_hook_on_what_a_linear_layer_flattens_sees_all_of_it():
    layer = only_needed(ZeroSkipLinear(4, 5))
    for _ in range(2):
        x = torch.randn(2, 3, 4, requires_grad=True).relu()
        x.retain_grad()
        layer(x).sum().backward()
        assert (x.grad[x == 0] != 0).all()


def test_autograd_grad_by_the_input_itself_is_whole():
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    layer(images().relu()).sum().backward()
    for asked in ([], [layer.weight], [layer.bias]):
        x = images().relu()
        gradient, *_ = torch.autograd.grad(layer(x).sum(), [x, *asked])
        assert (gradient[x == 0] != 0).all()


def test_frozen_weights_leave_out_nothing():
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1)).requires_grad_(False)
    x = images().relu()
    layer(x).sum().backward()
    assert layer.tuner.entries[0].backward_input.variant == "dense"
