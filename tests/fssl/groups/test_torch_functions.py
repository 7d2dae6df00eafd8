"""What functions do to units, on models whose sizes coincide: batch, height, width and units."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm

from espalier.errors import InputError
from espalier.fssl import TimeModel, compact, find_groups

SIDE = 4


class Net(nn.Module):
    """A convolution, a function under test, a linear layer and another."""

    def __init__(self, between):
        super().__init__()
        self.conv = nn.Conv2d(SIDE, SIDE, 3, padding=1)
        self.a, self.b, self.c = (nn.Linear(SIDE, SIDE) for _ in range(3))
        self.between = between

    def forward(self, x):
        return self.c(self.between(self, x))


def families(between, example):
    """The names of the hidden families that may shrink, and what stays."""
    model = Net(between)
    try:
        groups = find_groups(model, example, inputs=False)
    except InputError as error:
        assert "no unit of this model" in str(error)
        return [], str(error)
    return [units.name for units in groups.units], str(groups.unsupported)


SQUARE = torch.randn(SIDE, SIDE)
CUBE = torch.randn(SIDE, SIDE, SIDE)
IMAGES = torch.randn(SIDE, SIDE, SIDE, SIDE)


@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (3, 2)])
@pytest.mark.parametrize("name", ["mean", "sum"])
def test_a_mean_over_positions_keeps_the_channels(axes, name):
    assert families(lambda net, x: getattr(net.conv(x), name)(axes), IMAGES)[0] == ["conv"]
    assert families(lambda net, x: getattr(torch, name)(net.conv(x), dim=axes), IMAGES)[0] == [
        "conv"
    ]


@pytest.mark.parametrize("axes", [(0, 2), (1, 2), (0, 1), (1, 3)])
def test_a_mean_over_another_axis_does_not(axes):
    names, why = families(lambda net, x: net.conv(x).mean(axes), IMAGES)
    assert names == [] and "mean" in why


def test_positions_may_be_averaged_one_after_the_other():
    assert families(lambda net, x: net.conv(x).sum(3).sum(2), IMAGES)[0] == ["conv"]
    assert families(lambda net, x: net.conv(x).sum(1).sum(1), IMAGES)[0] == []


def in_place(function):
    def between(net, x):
        hidden = net.a(x)
        result = function(hidden)
        return hidden if result is None else result

    return between


def set_a_unit(hidden):
    hidden[:, 0] = 1.0


def add_a_number(hidden):
    hidden += 1.0


def add_a_vector(hidden):
    hidden += torch.arange(float(SIDE))


def write_elsewhere(hidden):
    out = torch.zeros(SIDE, SIDE)
    torch.add(hidden, 1.0, out=out)
    return out


@pytest.mark.parametrize(
    "function", [add_a_number, lambda h: h.data, lambda h: h.reshape(h.shape), lambda h: 2.0 - h]
)
def test_functions_that_leave_units_in_place(function):
    assert families(in_place(function), SQUARE)[0] == ["a"]


@pytest.mark.parametrize(
    "function",
    [
        *(lambda h: h.T, lambda h: h.mT, lambda h: h.H, lambda h: h.t(), lambda h: h.real),
        *(lambda h: h.permute(1, 0), lambda h: h.transpose(0, 1), lambda h: h.flip(1)),
        *(set_a_unit, add_a_vector, write_elsewhere),
        *(lambda h: 1.0 / h, lambda h: SQUARE / h, lambda h: h / h),
        *(lambda h: torch.clamp(h, min=SQUARE), lambda h: h * float(h.tolist()[0][0])),
    ],
)
def test_functions_that_may_not(function):
    names, why = families(in_place(function), SQUARE)
    assert ("a" not in names and "'a': " in why) or "; a: " in why


@pytest.mark.parametrize(
    "function",
    [
        lambda h: functional.max_pool2d(h, 3, stride=1, padding=1),
        lambda h: functional.avg_pool2d(h, 3, stride=1, padding=1),
        lambda h: functional.adaptive_avg_pool2d(h, SIDE),
        lambda h: functional.interpolate(h, SIDE),
    ],
)
def test_pooling_over_units_mixes_them(function):
    assert families(lambda net, x: function(net.a(x)), CUBE)[0] == []


def test_an_addition_along_different_axes_ties_nothing():
    def between(net, x):
        return (net.conv(x) + net.a(x)).mean((2, 3))

    names, why = families(between, IMAGES)
    assert names == [] and "along different axes" in why


def test_weights_that_another_function_uses():
    def tied(net, x):
        return functional.linear(net.a(x).relu(), net.a.weight.t())

    def beside(net, x):
        return net.b(net.a(x)) + functional.linear(x, net.b.weight)

    assert families(tied, SQUARE)[0] == []
    names, why = families(beside, SQUARE)
    assert names == [] and "uses its weights (linear)" in why


def test_weights_that_layers_share():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    with pytest.raises(InputError, match="0: 0, 2 share weights; 2: 0, 2 share weights"):
        find_groups(model, torch.randn(3, 4))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, weight_norm])
def test_weights_that_are_computed_stay_and_the_rest_is_compacted(norm):
    layers = (norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    model = nn.Sequential(*layers)
    groups = find_groups(model, torch.randn(3, 4))
    assert [units.name for units in groups.units] == ["2"]
    assert [layer.prunable_elements for layer in groups.layers] == [False, True, True]
    with torch.no_grad():
        groups.units[0].scale_(torch.arange(6.0) % 2)
    assert compact(model, groups)[2].out_features == 3


def test_what_a_modules_own_hooks_do_is_followed():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    handle = model[0].register_forward_hook(lambda module, args, output: output * torch.ones(5))
    example = torch.randn(3, 4)
    assert [units.name for units in find_groups(model, example).units] == ["input"]
    handle.remove()
    assert [units.name for units in find_groups(model, example).units] == ["input", "0"]


def test_samples_of_many_positions_and_images_without_a_batch():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    groups = find_groups(model, torch.randn(2, 3, 6))
    for units in groups.units:
        units.scale_((torch.arange(units.size) % 2).float())
    small = compact(model, groups)
    x = torch.randn(7, 2, 6)
    torch.testing.assert_close(small(x), model(x))

    convs = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))
    (units,) = find_groups(convs, torch.randn(3, 6, 6)).units
    assert units.size == 4


def test_a_compiled_model_stands_for_the_model_it_was_made_of():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    compiled = torch.compile(model, backend="eager")
    groups = find_groups(compiled, torch.randn(3, 4))
    assert groups.model is model
    groups.units[1].scale_(torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]))
    assert compact(compiled, groups)[0].out_features == 2


def test_a_model_without_values_is_refused():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)).to("meta")
    with pytest.raises(InputError, match=r"0\.weight is on the meta device"):
        find_groups(model, torch.zeros(1, 4))


def test_a_wrong_kind_of_argument_is_named():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    groups = find_groups(model, torch.randn(3, 4))
    for options, words in (
        ({"probe": torch.zeros(0, 4)}, "wanted at least one sample"),
        ({"time": "measured"}, "time is 'measured', wanted a TimeModel"),
        ({"rtol": "small"}, "rtol is 'small'"),
    ):
        with pytest.raises(InputError, match=words):
            compact(model, groups, **options)
    for make in (TimeModel.measure, TimeModel.from_macs):
        with pytest.raises(InputError, match="groups is a Sequential, wanted what find_groups"):
            make(model)
