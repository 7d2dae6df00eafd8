"""compact: from a model with exact zeros to a smaller model that computes the same."""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espalier.errors import InputError
from espalier.fssl.compaction.manifest import describe
from espalier.fssl.compaction.reduce_units import Reduction, reduce
from espalier.fssl.compaction.report import (
    CompactReport,
    LayerReport,
    attach,
    bytes_of,
    find_report,
    size_of,
)
from espalier.fssl.compaction.resize import (
    Select,
    linear,
    replace_module,
    resize_layer,
    resize_norm,
    resize_sparse,
    slice_layer,
    sparse_linear,
)
from espalier.fssl.compaction.verify import check_equal, draw_probe
from espalier.fssl.groups.groups import INPUT, Groups, LayerUse
from espalier.fssl.groups.modules import (
    evaluating,
    is_sparse,
    is_supported,
    kernel_area,
    without_compiler,
)
from espalier.network import Layer

DENSE, CSR = "dense", "csr"
_DTYPES = (torch.float32, torch.int64, torch.int32)
# Without measurements a sparse layer stays one while it stores less than a dense one would.
MOST_SPARSE_DENSITY = 0.5

ModelT = TypeVar("ModelT", bound=nn.Module)


class Backends(Protocol):
    """Chooses how a layer runs: a `TimeModel`."""

    def backend(self, layer: LayerUse, inputs: int, outputs: int, nonzeros: int) -> str:
        """``"dense"`` or ``"csr"`` for a layer with so many units and weights."""


def compact(
    model: ModelT,
    groups: Groups,
    *,
    time: Backends | None = None,
    probe: Any = None,
    rtol: float = 1e-5,
) -> ModelT:
    """Make a smaller model that computes the same, from the exact zeros of a model's weights.

    Units that no weight reads go, with what only they read; units that do not depend on the
    sample move into the biases behind them; units that always equal another one join it. Each
    family keeps at least one unit, and outputs stay. Inputs that no layer reads are left
    out by a `Select`.

    Arguments:
        model: float32, on the CPU; it is left as it is.
        groups: of the model, from `find_groups`.
        time: chooses dense or CSR for every linear layer by its measured time. Without it only
            sparse layers stay sparse, as long as at most half of their weights are non-zero.
        probe: samples to check the result on, or a tuple of the model's arguments. None takes
            the example of the groups and 64 samples of noise like it.
        rtol: largest difference allowed, as a share of the largest output.

    Returns:
        an ordinary module of the model's class, in its mode, to be trained on, saved or compiled;
        `compact_report` says what was done.

    Raises:
        InputError: an argument that does not fit, or a model that cannot be made smaller safely.
        NetworkError: the result differs from the model by more than allowed.

    Source: stage 1 and the compact network of FSSL (Wang et al., "Performance of Training Sparse
    Deep Neural Networks on GPUs", HPEC 2019); the rules are ours.

    >>> from espalier.fssl import compact_report, find_groups
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> model[2].weight.data[:, 1] = 0.0  # nobody reads unit 1
    >>> small = compact(model, find_groups(model, torch.rand(8, 4)))
    >>> small[0], compact_report(small).weights
    (Linear(in_features=4, out_features=2, bias=True), (18, 12))
    """
    model = without_compiler(model)
    _check(model, groups, time, rtol)
    small = copy.deepcopy(model)
    small.zero_grad(set_to_none=True)
    with evaluating(model, small):
        reduction = reduce(groups)
        inputs = {units.index for units in groups.units if units.kind == INPUT}
        layers = [
            _shrink_layer(small, use, reduction, time, use.inputs in inputs)
            for use in groups.layers
        ]
        for name, units in groups.norms.items():
            if not reduction.alive[units].all():
                resize_norm(small.get_submodule(name), reduction.alive[units])
        if probe is None:
            probe = draw_probe(groups.example)
        samples = probe if isinstance(probe, tuple) else (probe,)
        gap = check_equal(model, small, samples, rtol)
    before = find_report(model)
    original = describe(model) if before is None else before.original
    attach(small, CompactReport(layers, reduction.removed, gap, len(samples[0]), original))
    return small


def _shrink_layer(
    small: nn.Module, use: LayerUse, reduction: Reduction, time: Backends | None, selects: bool
) -> LayerReport:
    """Make one layer of the copy smaller, and put what it became in its place.

    Arguments:
        selects: whether its inputs are those of the model, of which `Select` takes some.
    """
    module: Any = small.get_submodule(use.name)
    before = size_of(module)
    rows, columns = reduction.rows(use), reduction.columns(use)
    changed = rows is not None or columns is not None or use.name in reduction.folded
    kept = None if columns is None else np.repeat(columns, use.repeat * kernel_area(module))
    layer = slice_layer(reduction.layers[use.name], rows, kept)
    backend = DENSE if use.name in reduction.shared_weight else _backend(use, module, layer, time)
    new: Any = module
    if backend == CSR and is_sparse(module):
        if changed or layer.nonzeros < module.nonzeros:
            resize_sparse(module, layer)
    elif backend == CSR:
        new = sparse_linear(module, layer)
    elif is_sparse(module):
        new = linear(module, layer)
    elif changed:
        resize_layer(module, layer)
    after = size_of(new)
    if columns is not None and selects:
        new = nn.Sequential(Select(torch.from_numpy(np.flatnonzero(columns)), use.in_width), new)
        after = after._replace(bytes=bytes_of(new))
    if new is not module:
        replace_module(small, module, new)
    return LayerReport(use.name, backend, before, after, _indices(columns), _indices(rows))


def _backend(use: LayerUse, module: nn.Module, layer: Layer, time: Backends | None) -> str:
    """How a layer is to run: as it does, where another module could not take its place."""
    if not is_supported(module):
        return CSR if is_sparse(module) else DENSE
    if not use.prunable_elements:
        return DENSE
    if time is None:
        full = layer.inputs * layer.outputs
        stays = is_sparse(module) and layer.nonzeros <= MOST_SPARSE_DENSITY * full
        return CSR if stays else DENSE
    return time.backend(use, layer.inputs // use.repeat, layer.outputs, layer.nonzeros)


def _indices(kept: NDArray[np.bool_] | None) -> list[int] | None:
    return None if kept is None else np.flatnonzero(kept).tolist()


def _check(model: Any, groups: Any, time: Any, rtol: Any) -> None:
    if not isinstance(groups, Groups) or groups.model is not model:
        raise InputError("groups are not those of this model; call find_groups(model, example)")
    if time is not None and not hasattr(time, "backend"):
        raise InputError(f"time is {time!r}, wanted a TimeModel or None")
    if not isinstance(rtol, (int, float)) or not rtol > 0.0:
        raise InputError(f"rtol is {rtol!r}, wanted a number above 0, such as 1e-5")
    if not any(isinstance(each, Tensor) and each.numel() for each in groups.example):
        raise InputError("the example of the groups is empty, wanted at least one sample")
    owners: dict[int, str] = {}
    stay = {
        use.name
        for use in groups.layers
        if use.inputs is None and use.outputs is None and not use.prunable_elements
    }
    for name in [*(use.name for use in groups.layers), *groups.norms]:
        module = model.get_submodule(name)
        if name not in stay and parametrize.is_parametrized(module):
            raise InputError(
                f"{name} has a parametrization, which fixes its shape; call "
                "torch.nn.utils.parametrize.remove_parametrizations first"
            )
        for key, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
                raise InputError(
                    f"{name}.{key} is {tensor.dtype} on {tensor.device}, wanted float32 on the "
                    "CPU: call model.float().cpu()"
                )
            if name not in stay and owners.setdefault(id(tensor), name) != name:
                raise InputError(
                    f"{name} and {owners[id(tensor)]} share {key}; a layer must own its weights "
                    "to be made smaller"
                )
