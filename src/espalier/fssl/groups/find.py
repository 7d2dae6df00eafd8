"""Find what a model's units are, and what belongs to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from espalier.errors import InputError
from espalier.fssl.groups.coupling import ChannelGroup, Coupling, LayerCall, trace_coupling
from espalier.fssl.groups.groups import CONV, HIDDEN, INPUT, LINEAR, SPARSE, Groups, LayerUse, Units
from espalier.fssl.groups.modules import is_norm, is_sparse, units_of, without_compiler
from espalier.fssl.groups.slices import (
    BIAS,
    INCOMING,
    NORM,
    OUTGOING,
    DenseSlice,
    ParameterSlice,
    SparseSlice,
)
from espalier.nn.torch_tools import DOES_NOT_FIT


def find_groups(model: nn.Module, example_input: Any, *, inputs: bool = True) -> Groups:
    """Find the coupled groups of a model by running it once on an example.

    Arguments:
        model: built of `torch.nn.Linear`, `torch.nn.Conv2d`, batch norms, `SparseLinear`, and any
            elementwise functions, pooling, flattening and additions between them.
        example_input: one batch, or a tuple of the model's arguments.
        inputs: whether inputs that only linear layers read may be dropped too.

    Returns:
        the groups; what has units that cannot be removed is named in ``unsupported``.

    Raises:
        InputError: the model is no module, does not run on the example, or nothing can shrink.

    Source: the units of Wen et al., "Learning Structured Sparsity in Deep Neural Networks",
    NeurIPS 2016, which the FSSL paper (Wang et al., HPEC 2019) builds on; the coupling is ours.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> print(find_groups(model, torch.zeros(1, 4)))
    input: 4 inputs, 12 weights in their groups
    0: 3 units, 21 weights in their groups
    2: left as it is, it is an output of the model
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}, wanted a torch.nn.Module")
    model = without_compiler(model)
    if units_of(model):
        raise InputError(
            f"the model is a single {type(model).__name__}, in whose place nothing smaller can be "
            "put; wrap it: torch.nn.Sequential(layer)"
        )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(
                f"{name} is on the meta device and has no values; load or draw the weights first"
            )
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    try:
        found = trace_coupling(model, example)
    except DOES_NOT_FIT as error:
        raise InputError(f"the model does not run on example_input: {error}") from error
    names = {module: name for name, module in model.named_modules()}
    _exclude_the_rest(found, inputs)
    shared = _exclude_shared_weights(found, names)
    units = _units(found, names)
    unsupported = _unsupported(found, names)
    if not units:
        reasons = "".join(f"; {name}: {why}" for name, why in unsupported.items())
        raise InputError(
            "no unit of this model could be removed; it needs two Linear, Conv2d or SparseLinear "
            "layers in a row, with elementwise functions, pooling or flattening between them"
            + reasons
        )
    indices = {group: each.index for group, each in units.items()}
    times = Counter(call.module for call in found.calls)
    layers = [
        _layer_use(
            call,
            names[module],
            found.made[module],
            indices,
            owns_weights=module not in shared,
            calls=times[module],
        )
        for module, call in {call.module: call for call in found.calls}.items()
    ]
    norms = {
        names[module]: indices[read[0].group.root()]
        for module, read in found.read.items()
        if is_norm(module) and read[0].group.root() in indices
    }
    return Groups(model, list(units.values()), layers, unsupported, norms, example)


def _exclude_the_rest(found: Coupling, inputs: bool) -> None:
    """Keep units that nothing reads as a whole, and those that a layer cannot lose."""
    if found.input is not None and not inputs:
        found.input.exclude("input", "inputs=False")
    read = {channels.group.root() for calls in found.read.values() for channels in calls}
    for module, group in found.made.items():
        if group.root() not in read:
            group.exclude("", "no layer that could be made smaller reads them")
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            _exclude_layer(found, module, "a convolution in groups makes or reads them")
    first_read: dict[nn.Module, ChannelGroup | None] = {}
    for call in found.calls:
        read_now = None if call.inputs is None else call.inputs.group.root()
        if first_read.setdefault(call.module, read_now) is not read_now:
            for other in (read_now, first_read[call.module]):
                if other is not None:
                    other.exclude("", "a layer that is called twice reads other units beside them")
    for module, calls in found.read.items():
        counted = {channels.group.root() for channels in calls}
        if is_norm(module) and (len(counted) > 1 or module in found.norms_elsewhere):
            for group in counted:
                group.exclude("", "a norm that is called twice counts other units beside them")


def _exclude_shared_weights(found: Coupling, names: dict[nn.Module, str]) -> set[nn.Module]:
    """Keep the units of layers that do not own their weights, or not alone; return the layers."""
    shared = set()
    owners: dict[int, nn.Module] = {}
    for module in found.made:
        why, where = "", ""
        others = {owners.setdefault(id(each), module) for each in module.parameters(recurse=False)}
        if others - {module}:
            why = f"{', '.join(sorted(names[each] for each in others | {module}))} share weights"
        elif parametrize.is_parametrized(module):
            why = "its weights are computed, by a parametrization"
        elif module in found.shared_weight:
            why, where = "a function beside the layer uses its weights", found.shared_weight[module]
        for each in others | {module} if why else ():
            _exclude_layer(found, each, why, where)
            shared.add(each)
    return shared


def _exclude_layer(found: Coupling, module: nn.Module, why: str, where: str = "") -> None:
    """Keep the units that a layer makes, and those that it reads."""
    for group in (found.made[module], *(each.group for each in found.read.get(module, []))):
        group.exclude(where, why)


def _units(found: Coupling, names: dict[nn.Module, str]) -> dict[ChannelGroup, Units]:
    slices: dict[ChannelGroup, list[ParameterSlice]] = {}
    if found.input is not None and found.input.excluded is None:
        slices[found.input] = []
    for module, made in found.made.items():
        if made.root().excluded is None:
            slices.setdefault(made.root(), []).extend(_incoming_slices(module, names[module]))
    for module, read in found.read.items():
        group, repeat = read[0].group.root(), read[0].repeat
        if group in slices:
            slices[group].extend(_outgoing_slices(module, names[module], repeat))
    return {
        group: Units(
            index, group.name, group.size, INPUT if group is found.input else HIDDEN, tuple(parts)
        )
        for index, (group, parts) in enumerate(slices.items())
    }


def _incoming_slices(module: Any, name: str) -> Iterable[ParameterSlice]:
    if is_sparse(module):
        counts = module.row_offsets.diff()
        rows = torch.arange(module.out_features).repeat_interleave(counts)
        yield SparseSlice(f"{name}.values", module.values, INCOMING, rows, module.out_features)
    else:
        yield DenseSlice(f"{name}.weight", module.weight, INCOMING, axis=0)
    if module.bias is not None:
        yield DenseSlice(f"{name}.bias", module.bias, BIAS, axis=0)


def _outgoing_slices(module: Any, name: str, repeat: int) -> Iterable[ParameterSlice]:
    if is_norm(module):
        if module.affine:
            yield DenseSlice(f"{name}.weight", module.weight, NORM, axis=0)
            yield DenseSlice(f"{name}.bias", module.bias, NORM, axis=0)
    elif is_sparse(module):
        units = module.column_indices.long() // repeat
        size = module.in_features // repeat
        yield SparseSlice(f"{name}.values", module.values, OUTGOING, units, size)
    else:
        yield DenseSlice(f"{name}.weight", module.weight, OUTGOING, axis=1, repeat=repeat)


def _layer_use(
    call: LayerCall,
    name: str,
    made: ChannelGroup,
    indices: dict[ChannelGroup, int],
    *,
    owns_weights: bool,
    calls: int,
) -> LayerUse:
    module: Any = call.module
    conv = isinstance(module, nn.Conv2d)
    repeat = 1 if call.inputs is None else call.inputs.repeat
    window: dict[str, Any] = {}
    if conv:
        window = {
            "kernel": _pair(module.kernel_size),
            "stride": _pair(module.stride),
            "padding": (0, 0) if isinstance(module.padding, str) else _pair(module.padding),
            "size": _pair(call.shape[-2:]),
        }
    return LayerUse(
        name,
        kind=CONV if conv else SPARSE if is_sparse(module) else LINEAR,
        inputs=None if call.inputs is None else indices.get(call.inputs.group.root()),
        outputs=indices.get(made.root()),
        in_width=module.in_channels if conv else call.shape[-1] // repeat,
        out_width=made.size,
        repeat=repeat,
        prunable_elements=owns_weights and not conv,
        calls=calls,
        **window,
    )


def _pair(sizes: Any) -> tuple[int, int]:
    height, width = sizes
    return int(height), int(width)


def _unsupported(found: Coupling, names: dict[nn.Module, str]) -> dict[str, str]:
    unsupported = {}
    for module, group in found.made.items():
        excluded = group.root().excluded
        if excluded is not None:
            where, why = excluded
            unsupported[names[module]] = f"{why} ({where})" if where else why
    return unsupported
