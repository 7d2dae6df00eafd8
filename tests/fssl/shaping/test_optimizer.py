"""Shaping a network: targets, exact zeros, any optimiser, and going on from a state."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from espalier.errors import InputError, TrainingError
from espalier.fssl import FSSLOptimizer, compact, find_groups
from espalier.nn import SparseLinear

STEPS = 60
X = torch.randn(64, 20, generator=torch.Generator().manual_seed(1))
Y = X[:, :5].argmax(1)
BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.003),
}


class MultiplyAdds:
    """A model of time that needs no clock."""

    def __init__(self, groups):
        self.groups = groups

    def seconds(self, widths, nonzeros=None):
        layers = self.groups.layers
        return float(sum(x.multiply_adds(*self.groups.layer_widths(x, widths)) for x in layers))

    def marginals(self, widths):
        now = self.seconds(widths)
        fewer = [[w - (i == j) for j, w in enumerate(widths)] for i in range(len(widths))]
        return [now - self.seconds(each) for each in fewer]


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )


def train(model, optimizer, steps=STEPS):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
    return loss.item()


def shaping(model, base="momentum", timed=True, steps=STEPS, **target):
    groups = find_groups(model, X)
    time = MultiplyAdds(groups) if timed else None
    return FSSLOptimizer(BASES[base](model.parameters()), groups, time, steps=steps, **target)


@pytest.mark.parametrize("base", BASES)
def test_every_optimiser_meets_its_target(base):
    model = mlp()
    optimizer = shaping(model, base, target_time=0.3)
    loss = train(model, optimizer)
    groups = optimizer.groups
    assert optimizer.finished and optimizer.reached
    assert optimizer.time.seconds(groups.widths()) <= 0.3 * optimizer.time.seconds(
        groups.full_widths
    )
    assert loss < 1.4  # guessing gives 1.6
    model.eval()
    torch.testing.assert_close(compact(model, groups)(X), model(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_units(mix):
    model = mlp()
    optimizer = shaping(model, target_units=0.4, mix=mix)
    train(model, optimizer)
    assert sum(optimizer.groups.widths()) <= 0.4 * (20 + 32 + 16)
    assert min(optimizer.groups.widths()) >= 2


def test_units_by_what_the_loss_would_change():
    model = mlp()
    optimizer = shaping(model, target_units=0.4, criterion="first_order")
    train(model, optimizer)
    assert optimizer.reached


def test_the_smallest_units_of_each_family_go():
    model = mlp()
    small = torch.arange(32) % 4 == 0
    with torch.no_grad():
        for parameter in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
            parameter[small] *= 0.01
        model[3].weight[:, small] *= 0.01
    optimizer = shaping(model, target_units=0.9)
    train(model, optimizer)
    gone = ~optimizer.groups.alive()[1]
    assert gone.any() and not (gone & ~small).any()


def test_inputs_that_are_always_0_go_first():
    model, images = mlp(), X.clone()
    images[:, 15:] = 0.0
    with torch.no_grad():
        model[0].weight[:, 15:] *= 10.0
    optimizer = shaping(model, target_units=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(images), Y).backward()
        optimizer.step()
    alive = optimizer.groups.alive()[0]
    assert not alive[15:].all() and alive[:15].all()


def test_what_costs_time_shrinks_more_with_the_time_term():
    """The inputs feed the widest layer: by weights alone they would cost as much as it does."""

    class Slow(MultiplyAdds):
        def marginals(self, widths):
            return [1.0, 0.0, 0.0]

    left = []
    for mix in (0.0, 1.0):
        model = mlp()
        groups = find_groups(model, X)
        base = BASES["momentum"](model.parameters())
        optimizer = FSSLOptimizer(
            base, groups, Slow(groups), steps=STEPS, target_units=0.6, mix=mix
        )
        train(model, optimizer)
        left.append(groups.widths()[0])
    assert left[1] < left[0]


def test_weights_one_by_one():
    model = mlp()
    total = 20 * 32 + 32 * 16 + 16 * 5
    optimizer = shaping(model, timed=False, target_zeros=0.9)
    train(model, optimizer)
    assert optimizer.reached
    assert sum(optimizer.groups.nonzeros()) == pytest.approx(0.1 * total, abs=1)
    before = optimizer.groups.nonzeros()
    train(model, optimizer, 5)
    assert optimizer.groups.nonzeros() == before


def test_zeros_stay_zeros_once_the_target_is_met():
    model = mlp()
    optimizer = shaping(model, target_time=0.4)
    train(model, optimizer, 55)
    alive = optimizer.groups.alive()
    train(model, optimizer, 20)
    for before, after in zip(alive, optimizer.groups.alive(), strict=True):
        assert torch.equal(before, after)


def test_sparse_layers_lose_units_too():
    torch.manual_seed(0)
    model = nn.Sequential(
        SparseLinear(20, 32, density=0.4), nn.ReLU(), SparseLinear(32, 5, density=0.5)
    )
    optimizer = shaping(model, timed=False, target_units=0.5)
    train(model, optimizer)
    assert optimizer.reached
    dense = model[0].to_dense()
    assert torch.equal(dense.abs().sum(0) > 0, optimizer.groups.alive()[0] & (dense != 0).any(0))


@pytest.mark.parametrize("target", [{"target_time": 0.3}, {"target_zeros": 0.8}])
@pytest.mark.parametrize("at", [7, 40, 57])
def test_going_on_from_a_state_is_bit_for_bit(at, target):
    model = mlp()
    optimizer = shaping(model, "adam", **target)
    train(model, optimizer, at)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, STEPS - at)

    again = mlp()
    resumed = shaping(again, "adam", **target)
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(again, resumed, STEPS - at)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert resumed.progress() == optimizer.progress()


def test_schedulers_and_clipping_know_it():
    model = mlp()
    optimizer = shaping(model, target_units=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    cross_entropy(model(X), Y).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    assert optimizer.base.param_groups[0]["lr"] == 0.025


def test_hooks_are_the_base_s():
    model, called = mlp(), []
    optimizer = shaping(model, target_units=0.5)
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    train(model, optimizer, 1)
    assert called == ["before", "after"]


def test_progress_tells_where_it_stands():
    optimizer = shaping(mlp(), target_time=0.3)
    progress = optimizer.progress()
    assert (progress.step, progress.left, progress.wanted) == (0, 1.0, 1.0)
    assert progress.seconds == optimizer.time.seconds([20, 32, 16])
    train(optimizer.groups.model, optimizer)
    assert optimizer.progress().left <= 0.3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exactly one of target_time, target_zeros, target_units, came none"),
        ({"target_units": 0.5, "target_zeros": 0.5}, "came target_zeros, target_units"),
        ({"target_units": 0.0}, "target_units is 0.0, wanted a part between 0 and 1"),
        ({"target_time": 1.5}, "target_time is 1.5"),
        ({"target_units": 0.5, "mix": 2.0}, "mix is 2.0, wanted 0 to 1"),
        ({"target_units": 0.5, "mix": float("nan")}, "mix is nan, wanted 0 to 1"),
        ({"target_units": 0.5, "steps": 3}, "steps is 3, wanted a whole number, 20 or more"),
        ({"target_units": 0.5, "steps": "60"}, "steps is '60'"),
        ({"target_units": "0.5"}, "target_units is '0.5'"),
        ({"target_units": 0.5, "min_width": 0}, "min_width is 0"),
        ({"target_units": 0.5, "criterion": "size"}, "criterion is .size., wanted one of norm"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(InputError, match=words):
        shaping(mlp(), **options)
    with pytest.raises(InputError, match="needs a time model"):
        shaping(mlp(), timed=False, target_time=0.5)


def test_a_target_out_of_reach_leaves_the_least_width_and_says_so():
    model = mlp()
    optimizer = shaping(model, target_units=0.05, min_width=4)
    train(model, optimizer)
    assert optimizer.groups.widths() == [4, 4, 4]
    assert optimizer.finished and not optimizer.reached


def base_of_groups(model, first, rest):
    parameters = [*model[1:].parameters()]
    groups = [{"params": [*model[0].parameters()], "lr": first}, {"params": parameters}]
    return torch.optim.Adam(groups, lr=rest), torch.optim.SGD(groups, lr=rest, momentum=0.9)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("rates", [(0.0, 0.02), (0.02, 0.0), (0.0, 0.0)])
def test_a_learning_rate_of_0_removes_no_more_than_the_target(which, rates):
    model = mlp()
    groups = find_groups(model, X)
    base = base_of_groups(model, *rates)[which]
    optimizer = FSSLOptimizer(base, groups, steps=STEPS, target_units=0.5)
    loss = train(model, optimizer)
    assert loss == loss
    assert sum(groups.widths()) in ({68} if max(rates) == 0.0 else range(30, 35))


def test_parameters_that_do_not_learn_stay_bit_for_bit():
    model = mlp()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    groups = find_groups(model, X)
    optimizer = FSSLOptimizer(
        BASES["momentum"](model.parameters()), groups, steps=STEPS, target_units=0.9
    )
    train(model, optimizer)
    assert groups.widths()[:2] == [20, 32] and groups.widths()[2] < 16 and optimizer.reached
    for name, tensor in model[0].state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("base", ["momentum", "adam"])
def test_parameters_beside_the_base_stay_and_leave_no_trace_in_its_state(base):
    model = mlp()
    groups = find_groups(model, X)
    optimizer = FSSLOptimizer(
        BASES[base](model[3:].parameters()), groups, steps=STEPS, target_units=0.9
    )
    train(model, optimizer)
    assert groups.widths()[:2] == [20, 32] and groups.widths()[2] < 16
    optimizer.load_state_dict(optimizer.state_dict())


def test_units_of_which_no_gradient_tells_stay():
    model = mlp()
    groups = find_groups(model, X)
    optimizer = FSSLOptimizer(
        BASES["momentum"](model.parameters()), groups, steps=STEPS, target_units=0.8
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(X), Y).backward()
        model[3].weight.grad = None
        optimizer.step()
    assert groups.widths()[1] == 32 and optimizer.reached


def test_a_model_that_does_not_learn_is_refused():
    model = mlp()
    groups = find_groups(model, X)
    strange = BASES["sgd"](nn.Linear(2, 2).parameters())
    with pytest.raises(InputError, match="not among those of base"):
        FSSLOptimizer(strange, groups, steps=STEPS, target_units=0.5)
    with pytest.raises(InputError, match=r"only 0\.0% of the weights"):
        FSSLOptimizer(strange, groups, steps=STEPS, target_zeros=0.5)
    with pytest.raises(InputError, match="base is a str"):
        FSSLOptimizer("sgd", groups, steps=STEPS, target_units=0.5)
    with pytest.raises(InputError, match="groups is a Sequential"):
        FSSLOptimizer(strange, model, steps=STEPS, target_units=0.5)


def test_zeros_that_linear_layers_cannot_hold_are_refused():
    layers = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4))
    model = nn.Sequential(*layers)
    groups = find_groups(model, torch.randn(2, 1, 8, 8))
    with pytest.raises(InputError, match=r"target_zeros is 0\.9, but only 4"):
        FSSLOptimizer(BASES["sgd"](model.parameters()), groups, steps=STEPS, target_zeros=0.9)


@pytest.mark.parametrize("target", [{"target_units": 0.5}, {"target_zeros": 0.5}])
def test_weights_that_are_no_numbers_stop_the_shaping(target):
    model = mlp()
    optimizer = shaping(model, **target)
    optimizer.register_step_post_hook(lambda *_: model[3].weight.data.fill_(float("nan")))
    with pytest.raises(TrainingError, match=r"weights of \d are not finite after step \d+ of"):
        train(model, optimizer)


def test_the_state_of_another_is_refused():
    optimizer = shaping(mlp(), target_units=0.5)
    with pytest.raises(InputError, match="the state does not fit"):
        optimizer.load_state_dict(optimizer.base.state_dict())
    with pytest.raises(InputError, match="the state does not fit"):
        optimizer.load_state_dict(shaping(mlp(), target_zeros=0.5).state_dict())
    with pytest.raises(InputError, match="the state does not fit"):
        shaping(mlp(), target_zeros=0.5).load_state_dict(optimizer.state_dict())
    with pytest.raises(InputError, match=r"asked for .*'units': 0\.5.*'units': 0\.3"):
        shaping(mlp(), target_units=0.3).load_state_dict(optimizer.state_dict())


def test_no_layer_dies_of_a_target_for_zeros():
    model = mlp()
    optimizer = shaping(model, target_zeros=0.999)
    train(model, optimizer)
    assert min(optimizer.groups.nonzeros()) >= 1 and not optimizer.reached


def test_zeros_are_never_one_too_few():
    optimizer = shaping(mlp(), target_zeros=0.9955)
    train(optimizer.groups.model, optimizer)
    total = sum(
        layer.weights(*optimizer.groups.layer_widths(layer)) for layer in optimizer.groups.layers
    )
    assert optimizer.reached and sum(optimizer.groups.nonzeros()) <= 0.0045 * total


def test_weights_of_half_precision_go_one_by_one():
    model = mlp().bfloat16()
    groups = find_groups(model, X.bfloat16())
    base = BASES["momentum"](model.parameters())
    optimizer = FSSLOptimizer(base, groups, steps=STEPS, target_zeros=0.8)
    for _ in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(X.bfloat16()), Y).backward()
        optimizer.step()
    # Weights of half precision are often equal, and of equals all stay.
    assert sum(groups.nonzeros()) <= 0.22 * 1232
