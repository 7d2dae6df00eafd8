"""Compaction chooses between dense and CSR, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.models import damage
from torch import nn

from espalier import Network, infer
from espalier.fssl import LayerUse, compact, compact_report, find_groups
from espalier.kernels import reference
from espalier.nn import SparseLinear


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
