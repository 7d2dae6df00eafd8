"""Where the gradient of an input may be left out, and that nobody can tell."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.support.layers import MadeUpCosts, forced, small_vgg
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.choice import LayerChoices
from espalier.nn.upstream import is_stopped_at_zero

NEEDED = {"needed": 0.01, "gradient": 9.0}


def only_needed(layer):
    """A layer for which the gradient of the input is cheapest where it is needed."""
    layer.choices = LayerChoices(costs=MadeUpCosts(NEEDED))
    return layer


def images(**options):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8, **options).contiguous(memory_format=torch.channels_last)
    return x.detach().requires_grad_()


STOPPED = {
    "relu": functional.relu,
    "relu_": lambda z: functional.relu_(z * 1.0),
    "ours": ZeroSkipReLU(),
    "ours in place": lambda z: ZeroSkipReLU(inplace=True)(z * 1.0),
    "max_pool": lambda z: functional.max_pool2d(z.relu(), 2),
    "overlapping max_pool": lambda z: functional.max_pool2d(z.relu(), 3, stride=1, padding=1),
    "adaptive max_pool": lambda z: functional.adaptive_max_pool2d(z.relu(), 3),
    "max_pool of ours": lambda z: functional.max_pool2d(ZeroSkipReLU()(z), 2),
    "max_pool twice": lambda z: functional.max_pool2d(functional.max_pool2d(z.relu(), 2), 2),
    "part": lambda z: z.relu()[:1],
    "view of a max_pool": lambda z: functional.max_pool2d(z.relu(), 2)[:1],
}
# Stopped, but copied to the kernels' layout: somebody may look at what was copied.
COPIED = {"inner part": lambda z: z.relu()[..., 1:-1]}
# Stopped by way of tensors that the graph does not name.
UNKNOWN = {
    "contiguous": lambda z: z.relu().contiguous(memory_format=torch.contiguous_format),
    "view of a view": lambda z: z.relu().permute(1, 0, 3, 2).permute(1, 0, 3, 2),
    "max_pool of a view": lambda z: functional.max_pool2d(z.relu()[:][:], 2),
}
NOT_STOPPED = {
    "leaf": lambda z: z.detach().relu().requires_grad_(),
    "no relu": lambda z: z * 1.0,
    "leaky": lambda z: functional.leaky_relu(z, 0.1),
    "clamp": lambda z: z.clamp(min=0.0),
    "sum with a residual": lambda z: z.relu() + z,
    "sum of two": lambda z: z.relu() + functional.relu(-z),
    "average": lambda z: functional.avg_pool2d(z.relu(), 2),
    "dropout": lambda z: functional.dropout(z.relu(), 0.5),
    "scaled": lambda z: z.relu() * 1e-30 * 1e-30,
    "shifted": lambda z: z.relu() - 1.0,
    "max_pool alone": lambda z: functional.max_pool2d(z, 2),
    "batch norm": lambda z: nn.BatchNorm2d(4)(z.relu()),
}


@pytest.mark.parametrize("name", [*STOPPED, *COPIED, *UNKNOWN, *NOT_STOPPED])
def test_gradients_upstream_are_those_of_torch(name):
    step = {**STOPPED, **COPIED, **UNKNOWN, **NOT_STOPPED}[name]
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    dense = nn.Conv2d(4, 5, 3, padding=1)
    dense.load_state_dict(layer.state_dict())
    found = []
    for each in (layer, dense):
        z = images()
        x = step(z)
        torch.manual_seed(1)
        if each is layer:
            assert is_stopped_at_zero(x) == (name in {**STOPPED, **COPIED})
        y = each(x)
        y.backward(torch.randn(y.shape))
        found.append(z.grad)
        if x.is_leaf:
            found[-1] = x.grad
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    chosen = layer.choices.sites[0].backward_input.variant
    assert chosen == ("needed" if name in STOPPED else "dense")


def gradient_by_input(layer, x, look):
    """What somebody who looks at the gradient of x sees."""
    seen = []
    look(x, seen)
    y = layer(x)
    y.backward(torch.ones(y.shape))
    return seen[0] if seen else x.grad


@pytest.mark.parametrize(
    "look",
    [
        lambda x, seen: x.retain_grad(),
        lambda x, seen: x.register_hook(seen.append),
    ],
)
def test_whoever_looks_at_the_gradient_sees_all_of_it(look):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    layer(images().relu()).sum().backward()
    assert layer.choices.sites[0].backward_input.variant == "needed"
    x = images().relu()
    gradient = gradient_by_input(layer, x, look)
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
@pytest.mark.parametrize("look", [retained, hooked])
def test_whoever_looks_between_the_relu_and_the_layer_sees_all_of_it(relu, step, look):
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    dense = nn.Conv2d(4, 5, 3, padding=1)
    dense.load_state_dict(layer.state_dict())
    seen = []
    for each in (layer, dense):
        y = relu(images())
        looked = look(y, seen)
        each(step(y)).sum().backward()
        looked()
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
    assert layer.choices.sites[0].backward_input.variant == "dense"


def test_what_is_left_out_is_left_out():
    layer = only_needed(ZeroSkipConv2d(4, 5, 3, padding=1))
    seen = []
    z = images()
    x = ZeroSkipReLU()(z)
    x.grad_fn.register_prehook(lambda dys: seen.append(dys[0]))
    layer(x).sum().backward()
    assert (seen[0][x == 0] == 0).all()
    assert (seen[0][x > 0] != 0).all()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_whole_networks(batch_norm):
    exact = small_vgg(batch_norm).double()
    model = forced(copy.deepcopy(exact).float())
    for layer in model.modules():
        if isinstance(layer, (ZeroSkipConv2d, ZeroSkipLinear)):
            only_needed(layer)
    x = torch.randn(4, 1, 12, 12)
    model(x).square().sum().backward()
    exact(x.double()).square().sum().backward()
    for (name, ours), truth in zip(model.named_parameters(), exact.parameters(), strict=True):
        scale = float(truth.grad.abs().max())
        torch.testing.assert_close(
            ours.grad.double(), truth.grad, rtol=0, atol=1e-5 * scale + 1e-5, msg=name
        )
    chosen = [
        module.choices.sites[0].backward_input.variant
        for module in model.modules()
        if isinstance(module, (ZeroSkipConv2d, ZeroSkipLinear))
    ]
    assert chosen == ["dense", "needed", "needed", "dense", "needed"]  # flattening copies


def test_residual_network():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(4, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return functional.relu(x + self.second(functional.relu(self.first(x))))

    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), Block(), Block())
    exact = copy.deepcopy(model).double()
    forced(model)
    for layer in model.modules():
        if isinstance(layer, ZeroSkipConv2d):
            only_needed(layer)
    x = torch.randn(2, 4, 8, 8)
    model(x).square().sum().backward()
    exact(x.double()).square().sum().backward()
    for ours, truth in zip(model.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=1e-4, atol=1e-4)
    assert model[3].first.choices.sites[0].backward_input.variant == "needed"
