"""Networks out of PyTorch models: the same function, or a refusal that names the step."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from espalier import Network, NetworkError, infer
from espalier.fssl.compaction.resize import Select
from espalier.kernels import reference
from espalier.nn import SparseLinear


def as_sparse(linear: nn.Linear) -> SparseLinear:
    return SparseLinear.from_dense(linear.weight, linear.bias)


class Mlp(nn.Module):
    """A chain that is no Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 5), nn.Linear(5, 3, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(images.flatten(1))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + x


@st.composite
def chains(draw: st.DrawFn) -> nn.Sequential:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    width = 6
    steps: list[nn.Module] = [nn.Flatten()] if draw(st.booleans()) else []
    if draw(st.booleans()):
        steps.append(nn.BatchNorm1d(width))
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            kept = torch.randperm(width)[: draw(st.integers(1, width))].sort().values
            steps.append(Select(kept, width))
            width = len(kept)
        if draw(st.booleans()) and isinstance(steps[-1] if steps else None, Select):
            steps.append(nn.BatchNorm1d(width))
        linear = nn.Linear(width, draw(st.integers(1, 7)), bias=draw(st.booleans()))
        with torch.no_grad():
            linear.weight.mul_(torch.rand_like(linear.weight) < 0.6)
        width = linear.out_features
        layer: list[nn.Module] = [as_sparse(linear) if draw(st.booleans()) else linear]
        if draw(st.booleans()):
            layer.append(nn.BatchNorm1d(width))
        if draw(st.booleans()):
            layer.append(draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0.0, 0.5)])))
            if draw(st.booleans()):
                layer.append(nn.BatchNorm1d(width))
        steps += [nn.Sequential(*layer), nn.Dropout(0.5)]
    model = nn.Sequential(*steps)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@given(model=chains())
def test_the_network_computes_what_the_model_does(model: nn.Sequential) -> None:
    x = torch.randn(9, 6)
    network = Network.from_torch(model)
    with torch.no_grad():
        expected = model.eval()(x).numpy()
    # Batch norms that were folded round once more: two bounds apart at most.
    tolerance = 2 * reference.tolerance(network, x.numpy()) + 1e-6
    np.testing.assert_allclose(infer(network, x.numpy()).activations, expected, atol=tolerance)


def test_a_module_with_a_forward_of_its_own() -> None:
    model, x = Mlp(), torch.randn(4, 1, 2, 3)
    network = Network.from_torch(model)
    assert [layer.activation for layer in network] == ["relu", "identity"]
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(reference.infer(network, x.flatten(1)), expected, atol=1e-6)


def test_zeros_of_dense_weights_are_not_stored_but_those_of_patterns_are() -> None:
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight[0] = 0.0
    sparse = as_sparse(nn.Linear(3, 2))
    with torch.no_grad():
        sparse.values[0] = 0.0
    assert Network.from_torch(linear)[0].nonzeros == 3
    assert Network.from_torch(sparse)[0].nonzeros == 6


def named(**steps: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(steps))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (named(features=nn.Conv2d(1, 2, 3)), "features is a Conv2d"),
        (named(fc=nn.Linear(3, 3), act=nn.GELU()), "act is a GELU"),
        (named(act=nn.ReLU(), fc=nn.Linear(3, 3)), "act does not follow a linear layer"),
        (named(fc=nn.Linear(3, 3), flat=nn.Flatten(0)), "flat is a Flatten"),
        (named(drop=nn.Dropout()), "no linear layer"),
        (named(fc=nn.Linear(3, 3), pick=Select(torch.tensor([0]), 3)), "no layer reads what pick"),
        (
            named(one=Select(torch.tensor([0, 1]), 3), two=Select(torch.tensor([0]), 2)),
            "two selects from the selection one",
        ),
        (
            named(fc=nn.Linear(3, 3), norm=nn.BatchNorm1d(3, track_running_stats=False)),
            "norm has no running statistics",
        ),
        (named(fc=nn.Linear(3, 3), skip=Residual()), "add does not read"),
        (nn.Conv2d(1, 2, 3), "Conv2d is a Conv2d"),
        (3, "model is a int"),
    ],
)
def test_a_step_of_another_kind_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network.from_torch(model)


def test_a_model_whose_path_depends_on_the_data_is_refused() -> None:
    class Branching(Mlp):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) if images.sum() > 0 else images

    with pytest.raises(NetworkError, match="cannot be followed"):
        Network.from_torch(Branching())
