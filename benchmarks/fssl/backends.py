"""The ways one trained network is run: as it is, with sparse layers, or with PyTorch's own CSR."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.fssl.methods import UNSTRUCTURED
from espalier.fssl.compaction.resize import replace_module
from espalier.nn import SparseLinear

if TYPE_CHECKING:
    from torch import nn

    from espalier.fssl import Groups, TimeModel


def with_backend(method: str, model: nn.Module) -> nn.Module:
    """How a network that a method made is run."""
    return with_sparse_linear(model) if method in UNSTRUCTURED else model


def with_sparse_linear(model: nn.Module) -> nn.Module:
    """A copy with a `SparseLinear` for every linear layer; no unit is cut out."""
    from torch import nn

    return _with(model, nn.Linear, lambda layer: SparseLinear.from_dense(layer.weight, layer.bias))


def with_torch_csr(model: nn.Module) -> nn.Module:
    """A copy with PyTorch's CSR for every linear layer, for inference."""
    from torch import nn

    return _with(model, nn.Linear, lambda layer: _torch_csr()(layer))


def with_linear(model: nn.Module) -> nn.Module:
    """A copy with a linear layer, zeros and all, for every sparse one."""
    return _with(model, SparseLinear, _linear)


def predicted_seconds(model: nn.Module, groups: Groups, time: TimeModel) -> float:
    """Predicted time of one batch of a network in the backend it is run in.

    Arguments:
        groups: of the dense network that it came from.
    """
    from espalier.fssl.compaction.report import find_report
    from espalier.training.footprint import compact_footprint

    if find_report(model) is not None:
        return compact_footprint(model, time).seconds
    seconds = time.seconds(groups.full_widths)
    for layer in groups.layers:
        module = model.get_submodule(layer.name)
        if isinstance(module, SparseLinear):
            widths = layer.in_width, layer.out_width
            seconds += time.layer_seconds(layer, *widths, module.nonzeros, backend="csr")
            seconds -= time.layer_seconds(layer, *widths)
    return seconds


def _with(model: nn.Module, kind: type[nn.Module], make: Callable[..., nn.Module]) -> nn.Module:
    """A copy with other modules for all of one kind."""
    model = copy.deepcopy(model)
    for layer in [module for module in model.modules() if isinstance(module, kind)]:
        replace_module(model, layer, make(layer))
    return model


def _linear(layer: SparseLinear) -> nn.Module:
    from torch import nn

    new = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    new.weight.data = layer.to_dense().detach()
    if layer.bias is not None:
        new.bias.data = layer.bias.detach().clone()
    return new


@cache
def _torch_csr() -> type[nn.Module]:
    import torch
    from torch import Tensor, nn

    class TorchCsrLinear(nn.Module):
        """Samples side by side, as MKL's product takes and leaves them: no layer transposes."""

        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "beta state"
                csr = layer.weight.detach().to_sparse_csr()
                # MKL wants indices of 32 bits.
                self.weight = torch.sparse_csr_tensor(
                    csr.crow_indices().int(), csr.col_indices().int(), csr.values(), csr.shape
                )
            self.bias = layer.bias.detach()[:, None]

        def forward(self, x: Tensor) -> Tensor:
            return torch.addmm(self.bias, self.weight, x.t()).t()

    return TorchCsrLinear
