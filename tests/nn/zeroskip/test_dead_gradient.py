"""Where the gradient of an input may be left out, and that nobody can tell."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.dead_gradient import is_stopped_at_zero
from tests.support.layers import forced, images, only_needed, small_vgg

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
# Stopped, but copied to the kernels' layout: somebody may see what was copied.
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
    chosen = layer.tuner.entries[0].backward_input.variant
    assert chosen == ("needed" if name in STOPPED else "dense")


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
        module.tuner.entries[0].backward_input.variant
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
    assert model[3].first.tuner.entries[0].backward_input.variant == "needed"
