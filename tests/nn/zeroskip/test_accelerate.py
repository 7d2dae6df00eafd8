"""accelerate: what it replaces, what it leaves, and that nobody notices but the clock."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

import espalier as esp
from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from tests.support.layers import kinds, small_vgg

X = (4, 1, 12, 12)
pytestmark = pytest.mark.usefixtures("made_up")


def test_layers_with_zeros_are_replaced():
    model = esp.accelerate(small_vgg(), torch.randn(X))
    assert kinds(model) == [
        *("ZeroSkipConv2d", "ZeroSkipReLU", "ZeroSkipConv2d", "ZeroSkipReLU", "MaxPool2d"),
        *("ZeroSkipConv2d", "ZeroSkipReLU", "MaxPool2d"),
        *("Flatten", "ZeroSkipLinear", "ZeroSkipReLU", "ZeroSkipLinear"),
    ]


def test_layers_without_zeros_stay():
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.GELU()),
        *(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)),
    )
    esp.accelerate(model, torch.randn(X))
    assert kinds(model) == [
        # dense image and, behind a batch norm, a dense gradient; a ReLU's output; no ReLU's output
        *("Conv2d", "BatchNorm2d", "ZeroSkipReLU", "ZeroSkipConv2d", "GELU"),
        # its gradient went through the ReLU; no zeros on either side
        *("ZeroSkipConv2d", "ZeroSkipReLU", "BatchNorm2d", "Flatten", "Linear"),
    ]


def test_layers_that_cannot_gain_here_stay(made_up):
    made_up.factors = dict.fromkeys(made_up.factors, 99.0)
    assert "ZeroSkip" not in " ".join(kinds(esp.accelerate(small_vgg(), torch.randn(X))))


def test_options_that_the_kernels_do_not_take_stay():
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 4, 1))
    esp.accelerate(model, torch.randn(2, 4, 6, 6))
    assert kinds(model)[1] == "Conv2d"
    assert kinds(model)[3] == "ZeroSkipConv2d"


def special_modules():
    class Mine(nn.Conv2d):
        pass

    parametrised = weight_norm(nn.Conv2d(4, 4, 1))
    pruned = prune.l1_unstructured(nn.Conv2d(4, 4, 1), "weight", 0.5)
    replaced = nn.Conv2d(4, 4, 1)
    replaced.forward = lambda x: x
    return [Mine(4, 4, 1), parametrised, pruned, replaced]


def test_special_modules_stay():
    for module in special_modules():
        kind = type(module)
        model = nn.Sequential(nn.ReLU(), module, nn.ReLU())
        esp.accelerate(model, torch.randn(2, 4, 6, 6))
        assert type(module) is kind


def test_results_and_gradients_stay():
    model = small_vgg(batch_norm=True)
    exact = copy.deepcopy(model).double()
    esp.accelerate(model, torch.randn(X))
    x = torch.randn(X)
    model(x).square().sum().backward()
    exact(x.double()).square().sum().backward()
    for ours, truth in zip(model.parameters(), exact.parameters(), strict=True):
        scale = float(truth.grad.abs().max())
        torch.testing.assert_close(ours.grad.double(), truth.grad, rtol=0, atol=1e-4 * scale + 1e-4)


def test_hooks_and_references_keep_working():
    model = small_vgg()
    layer, seen = model[2], []
    layer.register_forward_hook(lambda *_: seen.append("forward"))
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    esp.accelerate(model, torch.randn(X))
    assert model[2] is layer
    seen.clear()
    model(torch.randn(X)).sum().backward()
    before = layer.weight.clone()
    optimiser.step()
    assert seen == ["forward"]
    assert not torch.equal(layer.weight, before)


def test_shared_modules_stay_shared():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(nn.ReLU(), layer, nn.ReLU(), layer)
    esp.accelerate(model, torch.randn(4, 8))
    assert model[1] is model[3]
    assert isinstance(layer, ZeroSkipLinear)


def test_tied_parameters_stay_tied():
    model = nn.Sequential(nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[3].weight = model[1].weight
    esp.accelerate(model, torch.randn(4, 8))
    assert model[3].weight is model[1].weight
    assert isinstance(model[3], ZeroSkipLinear)


def test_the_root_itself_may_be_a_layer():
    layer = nn.Linear(8, 4)
    assert esp.accelerate(layer, functional.relu(torch.randn(4, 8))) is layer
    assert isinstance(layer, ZeroSkipLinear)


def test_weights_of_convolutions_become_channels_last():
    model = esp.accelerate(small_vgg(), torch.randn(X))
    weight = model[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    model(torch.randn(X)).sum().backward()
    assert weight.grad.stride() == weight.stride()


def test_accelerating_twice_is_accelerating_once():
    model = esp.accelerate(small_vgg(), torch.randn(X))
    tuner = model[2].tuner
    esp.accelerate(model, torch.randn(X))
    assert model[2].tuner is tuner


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x, scale=1.0, extra=None):
        y = self.layer(functional.relu(x)) * scale
        return {"y": [y, None], "extra": extra}


@pytest.mark.parametrize(
    "example",
    [
        (torch.ones(2, 8), 2.0),
        {"x": torch.ones(2, 8), "extra": "text"},
        torch.ones(2, 8),
    ],
)
def test_examples_and_outputs_of_any_form(example):
    x = example[0] if isinstance(example, tuple) else example
    x = x["x"] if isinstance(x, dict) else x
    x[:, ::2] = -1.0
    model = esp.accelerate(Keywords(), example)
    assert isinstance(model.layer, ZeroSkipLinear)


def test_models_without_parameters_or_gradients():
    assert kinds(esp.accelerate(nn.ReLU(), torch.randn(3, 4))) == ["ReLU"]
    model = small_vgg().requires_grad_(False)
    esp.accelerate(model, torch.randn(X))
    assert isinstance(model[2], ZeroSkipConv2d)


def test_other_types_stay_torchs():
    model = esp.accelerate(small_vgg().double(), torch.randn(X, dtype=torch.float64))
    assert "ZeroSkip" not in " ".join(kinds(model))
    model(torch.randn(X, dtype=torch.float64)).sum().backward()


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        ("net", torch.zeros(1), "model is a str, wanted a torch.nn.Module"),
        (nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), "weight is on meta, wanted .* CPU"),
        (nn.Linear(2, 2), [torch.zeros(1, 2)], "example_input is a list, wanted a tensor"),
        (nn.Linear(2, 2), {1: torch.zeros(1, 2)}, "example_input is a dict"),
        (nn.Linear(2, 2), None, "example_input is a NoneType"),
    ],
)
def test_bad_arguments(model, example, message):
    with pytest.raises(esp.InputError, match=message):
        esp.accelerate(model, example)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_model_is_refused():
    with pytest.raises(esp.InputError, match="compiled already: accelerate it first"):
        esp.accelerate(torch.compile(nn.Linear(2, 2)), torch.zeros(1, 2))


def test_an_example_that_does_not_fit_is_refused_and_the_model_as_it_was():
    model = small_vgg()
    state = copy.deepcopy(model.state_dict())
    for example in (torch.zeros(1, 3), (torch.zeros(X), 1), torch.zeros(X).int()):
        with pytest.raises(
            esp.InputError, match="does not run forward and backward on example_input"
        ):
            esp.accelerate(model, example)
    assert model.training and type(model) is type(small_vgg())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_copies_and_checkpoints():
    model = esp.accelerate(small_vgg(), torch.randn(X))
    x = torch.randn(X)
    expected = model(x)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    plain = small_vgg()
    plain.load_state_dict(model.state_dict())
    for other in (copy.deepcopy(model), torch.load(stream, weights_only=False), plain):
        torch.testing.assert_close(other(x), expected, rtol=1e-4, atol=1e-5)
    model.load_state_dict(small_vgg().state_dict())


def test_the_example_decides_nothing():
    model = esp.accelerate(small_vgg(), torch.randn(X))
    assert not esp.model_report(model).passes


def test_shared_memory_stays_shared():
    model = small_vgg().share_memory()
    esp.accelerate(model, torch.randn(X))
    assert isinstance(model[2], ZeroSkipConv2d)
    assert all(parameter.is_shared() for parameter in model.parameters())


def test_lazy_modules_must_have_run():
    model = nn.Sequential(nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(esp.InputError, match=r"1\.weight has no shape yet.* run it once first"):
        esp.accelerate(model, torch.randn(2, 3))
    model(torch.randn(2, 3))
    esp.accelerate(model, torch.randn(2, 3))
    assert isinstance(model[1], ZeroSkipLinear)


def test_no_progress_without_layers():
    told = []
    esp.accelerate(nn.ReLU(), torch.randn(2, 3), progress=lambda *pair: told.append(pair))
    assert told == []


def test_progress_is_told():
    told = []
    esp.accelerate(small_vgg(), torch.randn(X), progress=lambda *pair: told.append(pair))
    assert told == [(done, 5) for done in range(6)]


def test_relus_beside_replaced_layers_only():
    model = nn.Sequential(nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Identity(), nn.ReLU())
    esp.accelerate(model, torch.randn(4, 8))
    assert [isinstance(model[i], ZeroSkipReLU) for i in (0, 2, 4)] == [True, True, False]
