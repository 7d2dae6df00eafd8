"""Which units a model has, what belongs to them, and what is left alone."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from espalier.errors import InputError
from espalier.fssl import TimeModel, compact, find_groups
from espalier.nn import SparseLinear, accelerate
from espalier.nn.networks import LeNet5, fixup_resnet50, resnet34, resnet50, vgg_small


def roles(units):
    return sorted((piece.name, piece.role) for piece in units.slices)


def test_a_perceptron():
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(8, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)),
    )
    groups = find_groups(model, torch.zeros(2, 1, 6, 6))
    assert [(units.name, units.size, units.kind) for units in groups.units] == [
        ("input", 36, "input"),
        ("1", 8, "hidden"),
        ("5", 5, "hidden"),
    ]
    assert roles(groups.units[1]) == [
        ("1.bias", "bias"),
        ("1.weight", "in"),
        ("2.bias", "norm"),
        ("2.weight", "norm"),
        ("5.weight", "out"),
    ]
    assert list(groups.unsupported) == ["7"]
    assert model.training and model[4].training


def test_inputs_may_be_kept():
    groups = find_groups(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.zeros(1, 4))
    kept = find_groups(groups.model, torch.zeros(1, 4), inputs=False)
    assert [units.kind for units in groups.units] == ["input", "hidden"]
    assert [units.kind for units in kept.units] == ["hidden"]


def test_filters_behind_a_flatten_own_all_their_positions():
    groups = find_groups(LeNet5(), torch.zeros(1, 1, 28, 28))
    filters = groups.units[1]
    assert filters.size == 16
    assert [piece.repeat for piece in filters.slices if piece.role == "out"] == [25]
    assert groups.layers[2].repeat == 25 and groups.layers[2].in_width == 16
    assert [layer.positions for layer in groups.layers] == [784, 100, 1, 1, 1]


@pytest.mark.parametrize(
    ("network", "families", "layers"),
    [(vgg_small, 7, 8), (resnet34, 20, 37), (resnet50, 37, 54), (fixup_resnet50, 37, 54)],
)
def test_networks(network, families, layers):
    size, channels = (28, 1) if network is vgg_small else (64, 3)
    groups = find_groups(network(10), torch.zeros(1, channels, size, size))
    assert (len(groups.units), len(groups.layers)) == (families, layers)
    assert len(groups.unsupported) == 1
    assert groups.weights() == sum(groups.weight(layer).numel() for layer in groups.layers)


@pytest.mark.parametrize("network", [resnet34, fixup_resnet50])
def test_a_removed_group_takes_nothing_with_it(network):
    torch.manual_seed(0)
    model = network(10).eval()
    for parameter in model.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, 0.1, 0.2)
    x = torch.randn(2, 3, 64, 64)
    groups = find_groups(model, x)
    for units in groups.units:
        factors = torch.ones(units.size)
        factors[::3] = 0.0
        units.scale_(factors)
    y = model(x)
    for units in groups.units:  # whatever a dead unit puts out, nobody reads it
        for piece in units.slices:
            if piece.role in ("bias", "norm"):
                with torch.no_grad():
                    dead = piece.spread((~units.alive()).float())
                    piece.parameter.add_(dead * 0.7)
        assert [int(each.sum()) for each in groups.alive()]
    torch.testing.assert_close(model(x), y)


def test_sparse_layers():
    model = nn.Sequential(
        SparseLinear(12, 8, density=0.5), nn.ReLU(), SparseLinear(8, 6, density=0.5)
    )
    groups = find_groups(model, torch.zeros(1, 12))
    dense = model[0].to_dense().detach()
    torch.testing.assert_close(
        groups.units[1].slices[0].squares(), dense.square().sum(1), rtol=1e-5, atol=0
    )
    assert [layer.kind for layer in groups.layers] == ["sparse", "sparse"]


def test_an_accelerated_model_has_the_same_groups():
    torch.manual_seed(0)
    plain = vgg_small(width=8)
    names = [units.name for units in find_groups(plain, torch.rand(2, 1, 28, 28)).units]
    model = accelerate(plain, torch.rand(2, 1, 28, 28))
    assert [each.name for each in find_groups(model, torch.rand(2, 1, 28, 28)).units] == names


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.join(self.first(x), self.second(x)))


class Added(Joined):
    join = staticmethod(torch.add)


class Concatenated(Joined):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 2)

    @staticmethod
    def join(a, b):
        return torch.cat([a, b], dim=1)


class Softened(Joined):
    @staticmethod
    def join(a, b):
        return torch.softmax(a, 1) + b


def test_an_addition_ties_units():
    groups = find_groups(Added(), torch.zeros(1, 4), inputs=False)
    (units,) = groups.units
    assert [name for name, role in roles(units) if role == "in"] == [
        "first.weight",
        "second.weight",
    ]


@pytest.mark.parametrize("model", [Concatenated, Softened])
def test_functions_not_known_keep_their_units_and_are_named(model):
    groups = find_groups(model(), torch.zeros(1, 4))
    assert [units.kind for units in groups.units] == ["input"]
    assert "first" in groups.unsupported
    assert ("cat" if model is Concatenated else "softmax") in groups.unsupported["first"]


def test_a_layer_called_on_different_units_keeps_them():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.c(self.b(self.b(self.a(x))))

    groups = find_groups(Twice(), torch.zeros(1, 3))
    assert "b" in groups.unsupported and "a" in groups.unsupported


class NormTwice(nn.Module):
    """One norm behind two layers, or behind the input and a layer."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.d, self.n, self.first = nn.Linear(6, 6), nn.BatchNorm1d(6), first

    def forward(self, x):
        x = self.a(self.n(x) if self.first else x)
        return self.c(self.d(self.n(self.b(x if self.first else self.n(x)))))


@pytest.mark.parametrize("first", [False, True])
def test_units_that_share_a_norm_with_others_stay(first):
    model = NormTwice(first)
    groups = find_groups(model, torch.rand(5, 6), inputs=False)
    assert "norm that is called twice" in groups.unsupported["b"]
    assert ("a" in groups.unsupported) != first and not groups.norms
    for units in groups.units:
        units.scale_(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    small = compact(model, groups)
    assert small.n.num_features == 6 and small.d.out_features == 4


def test_calls_are_counted():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(nn.Linear(3, 4), layer, layer, layer, nn.Linear(4, 2))
    groups = find_groups(model, torch.zeros(1, 3))
    assert [use.calls for use in groups.layers] == [1, 3, 1]
    once = TimeModel.from_macs(find_groups(nn.Sequential(*model[:2], model[4]), torch.zeros(1, 3)))
    time, layer = TimeModel.from_macs(groups), groups.layers[1]
    assert time.layer_seconds(layer, 4, 4) == pytest.approx(
        3 * once.layers[1].seconds(4, 4, None, "dense")
    )
    assert TimeModel.from_json(time.to_json()) == time


def test_outputs_in_a_dataclass_stay():
    @dataclass
    class Scores:
        first: torch.Tensor
        second: torch.Tensor

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            hidden = self.a(x)
            return Scores(self.b(hidden), self.c(hidden))

    groups = find_groups(Model(), torch.zeros(1, 3))
    assert groups.unsupported.keys() == {"b", "c"}


def test_what_cannot_be_shaped_is_refused():
    with pytest.raises(InputError, match=r"wanted a torch\.nn\.Module"):
        find_groups("model", torch.zeros(1))
    with pytest.raises(InputError, match="no unit of this model"):
        find_groups(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"a single Linear.*wrap it: torch\.nn\.Sequential"):
        find_groups(nn.Linear(3, 4), torch.zeros(1, 3))
    with pytest.raises(InputError, match="does not run on example_input"):
        find_groups(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.zeros(1, 5))
