"""SET and RigL: what goes, what comes, and that the optimiser's state follows."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from espalier import InputError
from espalier.nn import SparseLinear
from espalier.nn.sparse import updaters as module
from espalier.nn.sparse.updaters import SET, RigL, change_pattern


def trained(layer: SparseLinear, kind: type = torch.optim.Adam) -> torch.optim.Optimizer:
    optimizer = kind(layer.parameters(), lr=0.1)
    layer(torch.randn(8, layer.in_features)).square().sum().backward()
    optimizer.step()
    return optimizer


def dense_state(layer: SparseLinear, state: torch.Tensor) -> torch.Tensor:
    whole = torch.zeros(layer.out_features * layer.in_features)
    whole[layer.places()] = state
    return whole.view(layer.out_features, layer.in_features)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.Adagrad, torch.optim.RMSprop])
@pytest.mark.parametrize("grown", [3, 10])
def test_values_and_state_follow_their_connections(kind, grown):
    layer = SparseLinear(9, 7, density=0.3)
    optimizer = trained(layer, kind)
    state = optimizer.state[layer.values]
    before = {name: each.clone() for name, each in state.items() if each.dim()}
    assert before
    dense = {name: dense_state(layer, each) for name, each in before.items()}
    values, old = layer.to_dense().detach(), layer.pattern.toarray()
    keep = torch.rand(layer.nonzeros) < 0.6
    free = torch.from_numpy(np.flatnonzero(~old.reshape(-1)))
    grow = free[torch.randperm(len(free))[:grown]]
    going = layer.places()[~keep]

    change_pattern(layer, optimizer, keep, grow)

    assert layer.nonzeros == int(keep.sum()) + grown == len(layer.values)
    mask = torch.from_numpy(old).reshape(-1)
    mask[going], mask[grow] = False, True
    np.testing.assert_array_equal(layer.pattern.toarray().reshape(-1), mask)
    stays = mask.clone()
    stays[grow] = False
    stays = stays.view(7, 9)
    assert torch.equal(layer.to_dense().detach(), torch.where(stays, values, 0.0))
    for name in before:
        assert torch.equal(dense_state(layer, state[name]), torch.where(stays, dense[name], 0.0))
    for _ in range(2):
        layer(torch.randn(8, 9)).square().sum().backward()
        optimizer.step()
    assert (layer.values[torch.isin(layer.places(), grow)] != 0.0).all()


@pytest.mark.parametrize("grow", [[-1], [63], [5, 5]])
def test_connections_that_cannot_grow_are_refused(grow):
    layer = SparseLinear(9, 7, density=0.0)
    with pytest.raises(InputError, match="grow holds"):
        change_pattern(layer, None, torch.ones(0, dtype=torch.bool), torch.tensor(grow))
    full = SparseLinear(9, 7, density=1.0)
    with pytest.raises(InputError, match="exists already"):
        change_pattern(full, None, torch.ones(63, dtype=torch.bool), torch.tensor([4]))
    with pytest.raises(InputError, match="keep is"):
        change_pattern(full, None, torch.ones(63), torch.tensor([4]))


@pytest.mark.parametrize("kind", [SET, RigL])
def test_updates_come_when_they_should_and_get_smaller(kind):
    layer = SparseLinear(20, 10, density=0.2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9)
    updater = kind(layer, optimizer, steps=40, every=10, fraction=0.5, stop=0.75)
    replaced = {}
    for step in range(1, 41):
        optimizer.zero_grad()
        layer(torch.randn(8, 20)).square().sum().backward()
        optimizer.step()
        before, values = layer.places(), layer.values.detach().clone()
        updater.step()
        gone = ~torch.isin(before, layer.places())
        assert layer.nonzeros == 40
        if gone.any():
            replaced[step] = int(gone.sum())
            assert values[gone].abs().max() <= values[~gone].abs().min()
    shares = {step: 0.25 * (1 + math.cos(math.pi * step / 30)) for step in (10, 20)}
    assert replaced == {step: round(40 * share) for step, share in shares.items()}


def test_rigl_grows_where_the_dense_gradient_is_largest(monkeypatch):
    monkeypatch.setattr(module, "MOST_GRADIENTS", 30)
    model = nn.Sequential(
        SparseLinear(12, 10, density=0.3), nn.Tanh(), SparseLinear(10, 8, density=0.3)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    updater = RigL(model, optimizer, steps=10, every=1, fraction=0.4)
    batches = [torch.randn(5, 12), torch.randn(3, 12)]
    weights = [model[0].to_dense().detach(), model[2].to_dense().detach()]
    for weight in weights:
        weight.requires_grad_()
    for x in batches:  # two backward passes add up
        model(x).square().sum().backward()
        hidden = torch.tanh(x @ weights[0].t() + model[0].bias)
        (hidden @ weights[1].t() + model[2].bias).square().sum().backward()
    before = [model[0].places(), model[2].places()]
    updater.step()
    for layer, weight, places in zip((model[0], model[2]), weights, before, strict=True):
        sizes = weight.grad.abs().flatten()
        sizes[places] = -1.0
        grown = layer.places()[~torch.isin(layer.places(), places)]
        assert set(grown.tolist()) == set(sizes.topk(len(grown)).indices.tolist())
        assert len(grown) > 0
    assert not any(updater._seen)


def test_rigl_leaves_a_layer_without_gradients_alone():
    layer = SparseLinear(12, 10, density=0.3)
    updater = RigL(layer, torch.optim.SGD(layer.parameters(), lr=0.1), steps=10, every=1)
    before = layer.places()
    updater.step()
    assert torch.equal(layer.places(), before)


@pytest.mark.parametrize("kind", [SET, RigL])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(kind):
    def parts():
        torch.manual_seed(0)
        model = nn.Sequential(SparseLinear(12, 10, density=0.3), nn.ReLU(), nn.Linear(10, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        return model, optimizer, kind(model, optimizer, steps=20, every=3, seed=4)

    def train(model, optimizer, updater, steps):
        for step in steps:
            optimizer.zero_grad()
            x = torch.randn(6, 12, generator=torch.Generator().manual_seed(step))
            model(x).square().sum().backward()
            optimizer.step()
            updater.step()

    whole, first, second = parts(), parts(), parts()
    train(*whole, range(12))
    train(*first, range(5))
    for mine, theirs in zip(second, copy.deepcopy([p.state_dict() for p in first]), strict=True):
        mine.load_state_dict(theirs)
    train(*second, range(5, 12))
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(tensor, second[0].state_dict()[name])


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"every": 0}, {"fraction": 1.5}, {"stop": -0.1}, {"fraction": float("nan")}],
)
def test_options_out_of_range_are_refused(options):
    layer = SparseLinear(4, 4, density=0.5)
    with pytest.raises(InputError, match="steps is"):
        SET(layer, torch.optim.SGD(layer.parameters()), **{"steps": 10, **options})


def test_a_model_without_sparse_layers_is_refused():
    layer = nn.Linear(4, 4)
    with pytest.raises(InputError, match="no SparseLinear"):
        SET(layer, torch.optim.SGD(layer.parameters()), steps=10)


def test_stop_at_once_means_no_update():
    layer = SparseLinear(4, 4, density=0.5)
    updater = SET(layer, torch.optim.SGD(layer.parameters()), steps=10, every=1, stop=0.0)
    before = layer.places()
    updater.step()
    assert torch.equal(layer.places(), before)


@pytest.mark.parametrize("kind", [SET, RigL])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layers_of_other_types(kind, dtype):
    layer = SparseLinear(20, 10, density=0.2, dtype=dtype)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9)
    updater = kind(layer, optimizer, steps=10, every=1)
    layer(torch.randn(8, 20, dtype=dtype)).square().sum().backward()
    before = layer.places()
    optimizer.step()
    updater.step()
    assert layer.nonzeros == 40
    assert not torch.equal(layer.places(), before)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_patterns_that_cannot_change(density):
    layer = SparseLinear(6, 5, density=density)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for kind in (SET, RigL):
        updater = kind(layer, optimizer, steps=10, every=1)
        layer(torch.randn(8, 6)).square().sum().backward()
        updater.step()
        assert layer.density == density
