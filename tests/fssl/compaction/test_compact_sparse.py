"""Compaction chooses between dense and CSR, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from espalier import Network, infer
from espalier.errors import InputError
from espalier.fssl import LayerUse, compact, compact_report, find_groups
from espalier.kernels import reference
from espalier.nn import SparseLinear
from tests.support.models import damage


class Always:
    """A time model with one answer, which notes what it was asked."""

    def __init__(self, backend: str) -> None:
        self.answer, self.asked = backend, dict[str, tuple[int, int, int]]()

    def backend(self, layer: LayerUse, inputs: int, outputs: int, nonzeros: int) -> str:
        self.asked[layer.name] = inputs, outputs, nonzeros
        return self.answer


def mixed(sparse: bool) -> nn.Sequential:
    torch.manual_seed(0)
    middle: nn.Module = SparseLinear(12, 8, density=0.3) if sparse else nn.Linear(12, 8)
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(middle, nn.ReLU(), nn.Linear(8, 4)),
    )


def shrink(model: nn.Module, backend: str) -> tuple[nn.Module, Always]:
    x, time = torch.rand(4, 1, 6, 6), Always(backend)
    small = compact(model, find_groups(model, x), time=time)
    torch.testing.assert_close(small(x), model(x), rtol=1e-5, atol=1e-6)
    return small, time


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("backend", ["dense", "csr"])
def test_linear_layers_run_as_the_time_model_says(sparse: bool, backend: str) -> None:
    model = mixed(sparse)
    damage(model, 1)
    small, time = shrink(model, backend)
    wanted = SparseLinear if backend == "csr" else nn.Linear
    assert type(small[4]) is wanted and type(small[6]) is wanted
    assert type(small[0]) is nn.Conv2d
    shape = compact_report(small).layers[1].after.shape
    inputs, outputs, nonzeros = time.asked["4"]
    assert shape == (outputs, 4 * inputs)
    if backend == "csr":
        assert small[4].nonzeros == nonzeros == int((small[4].values != 0).sum())


@pytest.mark.parametrize("sparse", [True, False])
def test_a_layer_that_stands_twice_stays_one(sparse: bool) -> None:
    torch.manual_seed(0)
    twice: nn.Module = SparseLinear(8, 8, density=0.6) if sparse else nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), twice, nn.ReLU(), twice, nn.Linear(8, 3))
    x = torch.rand(4, 5)
    small = compact(model, find_groups(model, x), time=Always("dense" if sparse else "csr"))
    torch.testing.assert_close(small(x), model(x), rtol=1e-5, atol=1e-6)
    assert small[2] is small[4]
    assert type(small[2]) is (nn.Linear if sparse else SparseLinear)


def test_layers_learn_what_they_learnt() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), SparseLinear(8, 4, density=0.5))
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    x = torch.rand(4, 6)
    sparse = compact(model, find_groups(model, x), time=Always("csr"))
    assert not sparse[0].values.requires_grad and sparse[0].bias.requires_grad
    dense = compact(model, find_groups(model, x), time=Always("dense"))
    assert dense[2].weight.requires_grad and not dense[2].bias.requires_grad


class Noisy(nn.Linear):
    """A layer that does more than its weights say."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(input)


def test_layers_that_do_more_than_their_weights_say_stay_what_they_are() -> None:
    model = nn.Sequential(
        Noisy(6, 8), nn.ReLU(), SparseLinear(8, 8, density=0.9), nn.ReLU(), nn.Linear(8, 3)
    )
    model[4].weight.data[:, 5] = 0.0
    calls: list[int] = []
    for place in (2, 4):
        model[place].register_forward_hook(lambda *_, place=place: calls.append(place))
    x = torch.rand(4, 6)
    groups = find_groups(model, x)
    for backend in ("dense", "csr"):
        small = compact(model, groups, time=Always(backend))
        calls.clear()
        torch.testing.assert_close(small(x), model(x), rtol=1e-5, atol=1e-6)
        assert [type(small[place]) for place in (0, 2, 4)] == [Noisy, SparseLinear, nn.Linear]
        assert small[4].in_features == 7 and small[2].out_features == 7
        assert calls == [2, 4, 2, 4]


def test_a_selection_refuses_inputs_of_another_width() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data[:, 1] = 0.0
    small = compact(model, find_groups(model, torch.rand(8, 4)))
    assert small[0][1].in_features == 3
    for width in (3, 400):
        with pytest.raises(InputError, match=rf"input is \[2, {width}\], wanted \[\.\.\., 4\]"):
            small(torch.rand(2, width))


def test_a_sparse_layer_stays_sparse_up_to_half_its_weights() -> None:
    torch.manual_seed(0)
    layers = [SparseLinear(8, 6, density=density) for density in (0.3, 0.9)]
    model = nn.Sequential(layers[0], nn.ReLU(), nn.Linear(6, 8), nn.ReLU(), layers[1])
    small = compact(model, find_groups(model, torch.rand(4, 8)))
    assert isinstance(small[0], SparseLinear) or isinstance(small[0][1], SparseLinear)
    assert type(small[2]) is nn.Linear and type(small[4]) is nn.Linear
    torch.testing.assert_close(small[4].weight, layers[1].to_dense())


def test_weights_of_zero_leave_the_pattern_of_a_sparse_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(SparseLinear(4, 6, density=0.5), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].values[:2] = 0.0
        model[0].bias.fill_(1.0)
    small = compact(model, find_groups(model, torch.rand(4, 4), inputs=False))
    assert small[0].nonzeros == model[0].nonzeros - 2
    assert compact_report(small).layers[0].backend == "csr"


def test_a_compact_sparse_model_runs_in_the_inference_engine() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU()),
        *(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)),
    )
    damage(model, 2)
    x = torch.rand(20, 1, 4, 4)
    small = compact(model.eval(), find_groups(model, x), time=Always("csr"))
    network = Network.from_torch(small)
    assert network.connections == compact_report(small).weights[1]
    samples = x.flatten(1).numpy()
    tolerance = 2 * reference.tolerance(network, samples)
    came, wanted = infer(network, samples).activations, model(x).detach().numpy()
    np.testing.assert_allclose(came, wanted, atol=tolerance)


def test_a_dead_layer_without_a_weight_left_still_runs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight.zero_()
    x = torch.rand(5, 4)
    small = compact(model, find_groups(model, x), time=Always("csr"))
    assert [layer.after.weights for layer in compact_report(small).layers] == [1, 0, 0]
    torch.testing.assert_close(small(x), model(x))
    assert Network.from_torch(small).connections == 1


def test_a_sparse_layer_learns_on_if_the_dense_one_did() -> None:
    model = mixed(sparse=False)
    model[4].requires_grad_(False)
    small, _ = shrink(model, "csr")
    assert not small[4].values.requires_grad and small[6].values.requires_grad
    small(torch.rand(2, 1, 6, 6)).sum().backward()
    assert small[6].values.grad.shape == small[6].values.shape
