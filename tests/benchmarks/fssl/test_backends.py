"""A network in all the ways it can be run gives the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.fssl.backends import (
    predicted_seconds,
    with_backend,
    with_linear,
    with_sparse_linear,
    with_torch_csr,
)
from espalier import fssl
from espalier.nn import SparseLinear


@pytest.fixture
def pruned() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    for layer in (model[1], model[3]):
        layer.weight.data *= torch.rand_like(layer.weight) < 0.3
    return model.eval()


def test_all_forms_agree(pruned: nn.Module) -> None:
    x = torch.randn(5, 3, 4)
    with torch.inference_mode():
        wanted = pruned(x)
        for backend in (
            with_sparse_linear,
            with_torch_csr,
            lambda model: with_linear(with_sparse_linear(model)),
        ):
            torch.testing.assert_close(backend(pruned)(x), wanted)
    assert isinstance(pruned[1], nn.Linear), "the network itself stays as it is"


def test_unstructured_methods_are_run_sparse(pruned: nn.Module) -> None:
    sparse = with_backend("magnitude", pruned)
    assert isinstance(sparse[1], SparseLinear)
    assert sparse[1].nonzeros == int(torch.count_nonzero(pruned[1].weight))
    assert with_backend("fssl", pruned) is pruned


def test_predictions_follow_the_form(pruned: nn.Module) -> None:
    groups = fssl.find_groups(pruned, torch.zeros(1, 3, 4), inputs=False)
    time = fssl.TimeModel.from_macs(groups, 16)
    full = time.seconds(groups.full_widths)
    assert predicted_seconds(pruned, groups, time) == pytest.approx(full)
    sparse = predicted_seconds(with_sparse_linear(pruned), groups, time)
    csr = [
        time.layer_seconds(layer, layer.in_width, layer.out_width, count, backend="csr")
        for layer, count in zip(groups.layers, groups.nonzeros(), strict=True)
    ]
    assert sparse == pytest.approx(sum(csr))
    small = fssl.compact(pruned, groups, time=time)
    assert predicted_seconds(small, groups, time) <= full
