"""accelerate leaves all else as it was: after it succeeds, and all of it after it fails."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

import espalier as esp
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear
from tests.support.layers import kinds, small_vgg

X = (4, 1, 12, 12)
pytestmark = pytest.mark.usefixtures("made_up")


def state_of(model):
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "gradients": [p.grad if p.grad is None else p.grad.clone() for p in model.parameters()],
        "random": torch.get_rng_state(),
    }


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_nothing_else_changes(batch_norm, training):
    model = small_vgg(batch_norm).train(training)
    model[0].weight.requires_grad_(False)
    model(torch.randn(X)).sum().backward()
    modules, parameters = list(model.modules()), list(model.parameters())
    before = state_of(model)
    assert esp.accelerate(model, torch.randn(X).requires_grad_()) is model
    after = state_of(model)
    assert list(model.modules()) == modules
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)
    assert all(module.training == training for module in modules)
    for name, tensor in before["state"].items():
        assert torch.equal(after["state"][name], tensor), name
    for old, new in zip(before["gradients"], after["gradients"], strict=True):
        assert (old is None) == (new is None)
        assert old is None or torch.equal(old, new)


def test_random_numbers_go_on_as_before():
    model = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8))
    x = torch.randn(4, 8)
    before = torch.get_rng_state()
    esp.accelerate(model, x)
    assert torch.equal(torch.get_rng_state(), before)


class Views(nn.Module):
    """The old way to flatten, which needs an output in rows of pixels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.last = nn.Linear(4 * 64, 3)

    def forward(self, x):
        x = self.second(functional.relu(self.first(x)))
        return self.last(functional.relu(x).view(len(x), -1))


def test_a_model_that_needs_another_layout_is_left_as_it_was():
    model = Views()
    x = torch.randn(X)
    expected = model(x)
    with pytest.raises(esp.InputError, match=r"reshape or \.flatten instead of \.view"):
        esp.accelerate(model, x)
    assert kinds(model) == ["Conv2d", "Conv2d", "Linear"]
    assert "tuner" not in vars(model.second)
    assert model.second.weight.is_contiguous()
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


class Asks(nn.Module):
    """Behaves in the second run of the example, with replaced layers, as it is told."""

    def __init__(self, error):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3)
        self.error = error

    def forward(self, x):
        if type(self.layer) is not nn.Conv2d:
            raise self.error
        return functional.relu(self.layer(functional.relu(x)))


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_other_errors_pass_through_and_leave_the_model_as_it_was(error):
    model = Asks(error)
    with pytest.raises(type(error)) as raised:
        esp.accelerate(model, torch.randn(2, 4, 6, 6))
    assert raised.value is error
    assert type(model.layer) is nn.Conv2d
    assert "tuner" not in vars(model.layer)
    assert model.layer.weight.is_contiguous()


def test_an_interrupt_between_two_layers_restores_the_first(monkeypatch):
    model = small_vgg()
    reset_tuner, count = ZeroSkipConv2d.reset_tuner, []

    def interrupted(self, *rule):
        reset_tuner(self, *rule)
        count.append(self)
        if len(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ZeroSkipConv2d, "reset_tuner", interrupted)
    with pytest.raises(KeyboardInterrupt):
        esp.accelerate(model, torch.randn(X))
    assert len(count) == 2
    assert "ZeroSkip" not in " ".join(kinds(model))
    assert all(layer.weight.is_contiguous() for layer in count)


class Elsewhere(nn.Module):
    """Modules that reach parameters by another way than their names."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(4, 8, batch_first=True)
        self.layer = nn.Linear(8, 8)
        self.same = [self.layer.weight]

    def forward(self, x):
        y = functional.relu(self.recurrent(x)[0])
        return self.layer(y) + self.same[0].sum()


@pytest.mark.parametrize("before", [None, 1.0])
def test_gradients_of_parameters_and_inputs_stay(before):
    model, x = Elsewhere(), torch.randn(2, 3, 4, requires_grad=True)
    leaves = [x, *model.parameters()]
    gradients = [None if before is None else torch.full_like(leaf, before) for leaf in leaves]
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient
    esp.accelerate(model, x)
    assert isinstance(model.layer, ZeroSkipLinear)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert leaf.grad is gradient
        assert gradient is None or (gradient == before).all()


def test_nothing_keeps_the_activations_of_the_example():
    alive = []
    model = small_vgg()
    model[3].register_forward_hook(lambda _, __, y: alive.append(weakref.ref(y)))
    esp.accelerate(model, torch.randn(X))
    gc.collect()
    assert len(alive) == 2
    assert not [reference for reference in alive if reference() is not None]
