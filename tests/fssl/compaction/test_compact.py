"""Compaction: the same function, fewer units, and a refusal where that would not hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from espalier import Network, NetworkError
from espalier.errors import InputError
from espalier.fssl import compact, compact_report, find_groups
from espalier.fssl.compaction import compact as compaction
from espalier.fssl.compaction import resize as slicing
from espalier.nn.networks import LeNet5, ResNet, vgg_small
from espalier.nn.networks.resnet import BasicBlock, Bottleneck
from tests.support.models import SmallFixup, conv_nets, damage, mlps, randomise


def shrink(model: nn.Module, example: Tensor, **options: Any) -> nn.Module:
    return compact(model, find_groups(model, example), **options)


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = copy.deepcopy(model).eval()(x.clone())
    return result


def assert_same(model: nn.Module, small: nn.Module, x: Tensor) -> None:
    wanted = outputs(model, x)
    largest = float(wanted.abs().max())
    torch.testing.assert_close(outputs(small, x), wanted, rtol=0.0, atol=1e-5 * largest)


@settings(max_examples=60)
@given(model=mlps(), seed=st.integers(0, 2**31))
def test_perceptrons_compute_the_same_and_again(model: nn.Sequential, seed: int) -> None:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
    small = shrink(model, x)
    assert_same(model, small, 3 * x)
    assert_same(model, shrink(small, x), 3 * x)


@settings(max_examples=30)
@given(model=conv_nets(), seed=st.integers(0, 2**31))
def test_convolution_networks_compute_the_same(model: nn.Sequential, seed: int) -> None:
    x = torch.randn(4, 1, 9, 9, generator=torch.Generator().manual_seed(seed))
    small = shrink(model, x)
    assert_same(model, small, 3 * x)
    before, after = compact_report(small).weights
    assert after <= before


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (LeNet5(), (1, 28, 28)),
        (vgg_small(width=4), (1, 28, 28)),
        (ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5), (3, 32, 32)),
        (ResNet(Bottleneck, (1, 2, 1, 1), num_classes=5), (3, 32, 32)),
        (SmallFixup(), (1, 8, 8)),
    ],
    ids=["lenet", "vgg", "basic", "bottleneck", "fixup"],
)
def test_the_networks_of_this_library(model: nn.Module, shape: tuple[int, ...]) -> None:
    randomise(model, 0)
    damage(model, 0)
    x = torch.rand(3, *shape)
    groups = find_groups(model, x)
    for units in groups.units:  # whole groups, as FSSL makes them zero
        units.scale_((torch.arange(units.size) % 2).float())
    small = compact(model, groups)
    assert_same(model, small, x)
    for family in compact_report(small).removed:
        assert family.kept <= max(family.size // 2, 1)


def chain(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers)


def kept(small: nn.Module) -> list[int]:
    return [family.kept for family in compact_report(small).removed]


def test_unread_units_take_what_only_they_read_with_them() -> None:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[4].weight[:, 2] = 0.0  # nobody reads unit 2 of layer 2 ...
        model[2].weight[:2, 1] = 0.0  # ... which alone reads unit 1 of layer 0 ...
        model[0].weight[0, 3] = model[0].weight[2, 3] = 0.0  # ... which alone reads input 3
    small = shrink(model, torch.rand(2, 4))
    assert kept(small) == [3, 2, 2]
    assert small[0][0].indices.tolist() == [0, 1, 2]
    assert compact_report(small).layers[0].after.bytes == 3 * 8 + (2 * 3 + 2) * 4
    assert [family.unread for family in compact_report(small).removed] == [1, 1, 1]


def test_constant_units_move_into_biases_even_where_there_was_none() -> None:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1] = 2.0
    small = shrink(model, torch.rand(2, 4))
    torch.testing.assert_close(small[3].bias, 2.0 * model[3].weight[:, 1])
    assert compact_report(small).removed[1].constant == 1


def test_equal_units_become_one_and_their_weights_add_up() -> None:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = model[0].weight[0], model[0].bias[0]
    small = shrink(model, torch.rand(2, 4))
    torch.testing.assert_close(small[2].weight[:, 0], model[2].weight[:, [0, 2]].sum(1))
    assert compact_report(small).removed[1].merged == 1


@pytest.mark.parametrize(
    ("padding", "bias", "left"), [(0, 2.0, 2), (1, 2.0, 3), (1, -2.0, 2), ("same", 2.0, 3)]
)
def test_a_constant_passes_a_padded_convolution_only_if_it_is_zero(
    padding: Any, bias: float, left: int
) -> None:
    model = chain(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3, padding=padding)
    )
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1] = bias
    small = shrink(model, torch.rand(2, 1, 12, 12))
    assert kept(small) == [left]


def test_constants_survive_a_norm_a_pooling_and_a_flatten() -> None:
    model = chain(
        *(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        nn.Linear(12, 2),
    )
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[1].weight[2] = 0.0
        model[1].bias.fill_(0.75)
    small = shrink(model, torch.rand(2, 1, 6, 6))
    assert kept(small) == [1]
    assert small[1].num_features == 1 and small[5].in_features == 4


def test_a_dead_layer_keeps_one_unit_and_the_constant_it_made() -> None:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight.zero_()
    x = torch.rand(5, 4)
    small = shrink(model, x)
    assert kept(small) == [1, 1, 1]
    assert_same(model, small, x)
    assert len(outputs(small, x).unique(dim=0)) == 1


def test_outputs_stay_even_where_they_are_equal_or_constant() -> None:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        model[2].weight[0] = 0.0
        model[2].weight[2] = model[2].weight[1]
        model[2].bias[2] = model[2].bias[1]
    assert outputs(shrink(model, torch.rand(2, 4)), torch.rand(2, 4)).shape == (2, 3)


def test_a_layer_called_twice_folds_nothing() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.again(torch.relu(self.first(x))))
            return self.out(torch.relu(self.again(hidden)))

    torch.manual_seed(0)
    model = Twice()
    with torch.no_grad():
        model.first.weight[1] = 0.0
    x = torch.rand(4, 3)
    assert_same(model, shrink(model, x), x)


def test_weights_used_outside_their_layer_keep_their_constants() -> None:
    """A zero that meets `shifted` is not a zero any more."""
    model = SmallFixup()
    randomise(model, 1)
    with torch.no_grad():
        model.stem.weight[2] = 0.0
        model.stem.bias[2] = -1.0
    x = torch.rand(2, 1, 8, 8)
    small = shrink(model, x)
    assert small.stem.out_channels == 8
    assert_same(model, small, x)


def test_the_original_is_left_as_it_is() -> None:
    model = chain(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    model[1].eval()
    damage(model, 0)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    x = torch.rand(2, 4)
    random = torch.get_rng_state()
    small = shrink(model, x)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert small.training and not small[1].training
    assert torch.equal(torch.get_rng_state(), random)


def test_the_result_is_an_ordinary_module() -> None:
    model = chain(nn.Flatten(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    damage(model, 3)
    model[1].weight.requires_grad_(False)
    x = torch.rand(8, 1, 3, 3)
    small = shrink(model, x)
    assert not small[1][1].weight.requires_grad and small[3].weight.requires_grad
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    loss = small(x).square().sum()
    loss.backward()
    optimizer.step()
    assert small(x).square().sum().item() < loss.item()
    other = copy.deepcopy(small)
    other.load_state_dict(small.state_dict())
    compiled = torch.compile(small, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), other(x))


def test_a_compact_perceptron_becomes_a_network() -> None:
    model = chain(nn.Flatten(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    damage(model, 3)
    small = shrink(model, torch.rand(8, 1, 3, 3))
    network = Network.from_torch(small)
    assert network.inputs == 9 and network.connections <= compact_report(small).weights[1]


@pytest.fixture
def damaged() -> nn.Sequential:
    model = chain(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight[:, 1] = 0.0
    return model


def test_a_wrong_result_is_refused(damaged: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(module: Any, layer: Any) -> None:
        slicing.resize_layer(module, layer)
        module.bias.data += 0.01

    monkeypatch.setattr(compaction, "resize_layer", wrong)

    with pytest.raises(NetworkError, match=r"differs by 0\.0\d* on 66 samples, allowed"):
        shrink(damaged, torch.rand(2, 4))


def test_bad_arguments_are_refused(damaged: nn.Sequential) -> None:
    x = torch.rand(2, 4)
    groups = find_groups(damaged, x)
    with pytest.raises(InputError, match="not those of this model"):
        compact(copy.deepcopy(damaged), groups)
    with pytest.raises(InputError, match="rtol is 0"):
        compact(damaged, groups, rtol=0)
    with pytest.raises(InputError, match="does not run on the probe"):
        compact(damaged, groups, probe=torch.rand(2, 5))
    with pytest.raises(InputError, match="did not come from"):
        compact_report(damaged)
    with pytest.raises(InputError, match=r"float64 .* call model.float"):
        compact(damaged.double(), groups)


def test_nan_is_refused_by_name(damaged: nn.Sequential) -> None:
    groups = find_groups(damaged, torch.rand(2, 4))
    with torch.no_grad():
        damaged[2].bias[0] = float("nan")
    with pytest.raises(NetworkError, match=r"layer 2: bias\[0\] is nan"):
        compact(damaged, groups)


def test_weights_that_are_not_a_layers_own_are_refused(damaged: nn.Sequential) -> None:
    groups = find_groups(damaged, torch.rand(2, 4))
    nn.utils.parametrizations.weight_norm(damaged[0])
    with pytest.raises(InputError, match="0 has a parametrization"):
        compact(damaged, groups)
    tied = chain(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    groups = find_groups(tied, torch.rand(2, 4))
    tied[2].weight = tied[0].weight
    with pytest.raises(InputError, match="2 and 0 share weight"):
        compact(tied, groups)


def test_the_report_reads_as_a_table(damaged: nn.Sequential) -> None:
    report = compact_report(shrink(damaged, torch.rand(2, 4)))
    assert report.layers[0].outputs == [0, 2] and report.layers[0].inputs is None
    text = str(report)
    assert "3 x 4 -> 2 x 4" in text and "0: 2 of 3 units left; 1 unread" in text
