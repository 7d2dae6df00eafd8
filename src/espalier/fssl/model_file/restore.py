"""From the manifest and the tensors of a file to the model that was saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import EspalierError, FileError, InputError
from espalier.fssl.compaction.manifest import (
    CONV,
    LINEAR,
    MADE_OF,
    SELECT,
    SPARSE,
    WRONG_MODEL,
    Entry,
    check_original,
    entry_of,
    read_entries,
)
from espalier.fssl.compaction.report import attach, report_from_json
from espalier.fssl.compaction.resize import Select, replace_module, resize
from espalier.fssl.groups.modules import is_sparse
from espalier.nn import SparseLinear, networks

BUILD_KEYS = {"spec", "in_channels", "size", "num_classes"}


def restore(
    manifest: Mapping[str, Any], tensors: Mapping[str, Tensor], model: nn.Module | None
) -> nn.Module:
    """Make the original the model that a manifest describes, and give it its tensors.

    Arguments:
        tensors: by name, every one that the model is to have.
        model: the original, changed in place; None to build it as the manifest says.

    Raises:
        FileError: tensors, manifest and model do not belong together.
    """
    if model is None:
        model = _build(manifest.get("build"))
    entries = read_entries(manifest.get("modules"))
    compaction = manifest.get("compaction")
    report = None if compaction is None else report_from_json(compaction)
    check_original(model, entries if report is None else report.original)
    _restore_modules(model, entries, tensors)
    if report is not None:
        attach(model, report)
    return model


def _build(arguments: Any) -> nn.Module:
    """The original, without memory for its weights where its layers can do without."""
    if arguments is None:
        raise FileError("the file does not say how to build its model: load(path, model=original)")
    if not isinstance(arguments, dict) or set(arguments) != BUILD_KEYS:
        raise FileError(f"the file builds its model from {arguments}, wanted {sorted(BUILD_KEYS)}")
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model: nn.Module = networks.build(**arguments)
            return model
    except (EspalierError, TypeError, ValueError, RuntimeError) as error:
        raise FileError(f"no model can be built from {arguments}: {error}") from error


def _restore_modules(
    model: nn.Module, entries: Mapping[str, Entry], tensors: Mapping[str, Tensor]
) -> None:
    for name in sorted(entries, key=lambda name: name.count(".")):
        _restructure(model, name, entries[name], tensors)
    _check_names(model, tensors)
    for name, module in model.named_modules(remove_duplicate=False):
        own = {
            key: tensors[_joined(name, key)]
            for key in (*module._parameters, *module._buffers)
            if _joined(name, key) in tensors
        }
        _check_tensors(name, module, entries.get(name), own)
        if own:
            resize(module, own)
    _check_selections(model)


def _restructure(model: nn.Module, name: str, entry: Entry, tensors: Mapping[str, Tensor]) -> None:
    """Put the module of an entry in its place, where the original has one of another kind."""
    module = _module(model, name)
    if entry.kind == SELECT and not isinstance(module, Select):
        layer = _module(model, name.removesuffix(".0"))
        if layer is None or layer is module or not name.endswith(".0"):
            raise FileError(f"the model has no layer to read what {name} selects; {WRONG_MODEL}")
        _check_fits(name, entry, layer)
        select = Select(_tensor(tensors, f"{name}.indices"), entry.inputs)
        replace_module(model, layer, nn.Sequential(select, layer))
        return
    if module is None:
        raise FileError(f"the model has no module {name!r}; {WRONG_MODEL}")
    _check_fits(name, entry, module)
    if entry.kind == SPARSE:
        sparse = _sparse(name, entry, tensors)
        if is_sparse(module):
            _take_pattern(module, sparse)
        else:
            replace_module(model, module, sparse)
    elif entry.kind == LINEAR and is_sparse(module):
        bias = _joined(name, "bias") in tensors
        replace_module(model, module, nn.Linear(entry.inputs, entry.outputs, bias, device="meta"))


def _sparse(name: str, entry: Entry, tensors: Mapping[str, Tensor]) -> SparseLinear:
    pattern = tuple(
        _tensor(tensors, _joined(name, key)) for key in ("row_offsets", "column_indices")
    )
    bias = _joined(name, "bias") in tensors
    try:
        with torch.random.fork_rng(devices=[]):
            return SparseLinear(entry.inputs, entry.outputs, bias, pattern=pattern)
    except (InputError, RuntimeError) as error:
        raise FileError(f"{name} has no pattern: {error}") from error


def _take_pattern(module: Any, other: SparseLinear) -> None:
    module.in_features, module.out_features = other.in_features, other.out_features
    resize(module, {**dict(other.named_buffers()), "values": other.values.detach()})


def _check_fits(name: str, entry: Entry, module: nn.Module) -> None:
    """A module of an entry's kind, no larger, can be made of the original's."""
    came = entry_of(module)
    if came is None or came.kind not in MADE_OF[entry.kind]:
        raise FileError(f"{name} is {entry.kind} here and a {type(module).__name__} in the model")
    if entry.inputs > came.inputs or (entry.kind != SELECT and entry.outputs > came.outputs):
        raise FileError(
            f"{name} is {entry.outputs} x {entry.inputs}, larger than the {came.outputs} x "
            f"{came.inputs} of the model; {WRONG_MODEL}"
        )


def _check_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    wanted = set(model.state_dict())
    missing = sorted(wanted - set(tensors))
    biases = {  # which a layer may have gained when constants were folded into it
        _joined(name, "bias")
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    foreign = sorted(set(tensors) - wanted - biases)
    if missing or foreign:
        what = f"lacks {missing[0]!r}" if missing else f"holds {foreign[0]!r}, which no module has"
        raise FileError(f"the file {what}; {WRONG_MODEL}")


def _check_tensors(name: str, module: Any, entry: Entry | None, own: Mapping[str, Tensor]) -> None:
    """Types and shapes are those of the module in its new size, and all numbers are finite."""
    for key, tensor in own.items():
        old = getattr(module, key)
        wanted = old if old is not None else module.weight
        if tensor.dtype != wanted.dtype:
            raise FileError(f"{_joined(name, key)} is {tensor.dtype}, wanted {wanted.dtype}")
        shape = tuple(wanted.shape) if entry is None else _shape(module, entry, key)
        if tuple(tensor.shape) != shape:
            raise FileError(f"{_joined(name, key)} is {list(tensor.shape)}, wanted {list(shape)}")
        if not torch.isfinite(tensor).all():
            raise FileError(f"{_joined(name, key)} holds NaN or infinity")


def _shape(module: Any, entry: Entry, key: str) -> tuple[int, ...]:
    if key == "weight" and entry.kind == LINEAR:
        return entry.outputs, entry.inputs
    if key == "weight" and entry.kind == CONV:
        return entry.outputs, entry.inputs // module.groups, *module.kernel_size
    if key == "row_offsets":
        return (entry.outputs + 1,)
    if key in ("values", "column_indices"):
        return (module.nonzeros,)
    return () if key == "num_batches_tracked" else (entry.outputs,)


def _check_selections(model: nn.Module) -> None:
    """Selections lie in what comes, in order, and are as wide as the layer that reads them."""
    for name, module in model.named_modules():
        steps = list(module) if isinstance(module, nn.Sequential) else []
        if len(steps) < 2 or not isinstance(first := steps[0], Select):
            continue
        indices = first.indices
        rising = bool((indices.diff() > 0).all())
        if not len(indices) or not rising or indices[0] < 0 or indices[-1] >= first.in_features:
            raise FileError(f"{name}.0.indices must rise within 0 ... {first.in_features - 1}")
        reader = entry_of(steps[1])
        if reader is not None and reader.inputs != len(indices):
            raise FileError(f"{name}.1 reads {reader.inputs} of {len(indices)} selected inputs")


def _module(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise FileError(f"the file lacks {name!r}")
    return tensors[name]


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
