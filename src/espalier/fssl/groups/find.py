"""Find what a model's units are, and what belongs to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espalier.errors import InputError
from espalier.fssl.groups.coupling import Call, Observation, Space, Spaces
from espalier.fssl.groups.groups import CONV, HIDDEN, INPUT, LINEAR, SPARSE, Groups, LayerUse, Units
from espalier.fssl.groups.slices import (
    BIAS,
    INCOMING,
    NORM,
    OUTGOING,
    DenseMember,
    Member,
    SparseMember,
)
from espalier.nn.sparse.linear import SparseLinear
from espalier.nn.torch_tools import DOES_NOT_FIT

ModelT = TypeVar("ModelT", bound=nn.Module)


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
    if _outputs(model):
        raise InputError(
            f"the model is a single {type(model).__name__}, in whose place nothing smaller can be "
            "put; wrap it: torch.nn.Sequential(layer)"
        )
    _check_values(model)
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    spaces = _run(model, example)
    seen = spaces.seen
    names = {module: name for name, module in model.named_modules()}
    _freeze_the_rest(seen, inputs)
    lent = _freeze_lent_weights(seen, names)
    units = _units(seen, names)
    if not units:
        reasons = "".join(f"; {name}: {why}" for name, why in _unsupported(seen, names).items())
        raise InputError(
            "no unit of this model could be removed; it needs two Linear, Conv2d or SparseLinear "
            "layers in a row, with elementwise functions, pooling or flattening between them"
            + reasons
        )
    places = {space: each.index for space, each in units.items()}
    calls = {call.module: call for call in seen.calls}
    times = Counter(call.module for call in seen.calls)
    layers = [
        replace(
            _layer_use(call, names[module], seen, places, prunable=module not in lent),
            calls=times[module],
        )
        for module, call in calls.items()
    ]
    norms = {
        names[module]: places[read[0].space.root()]
        for module, read in seen.read.items()
        if is_norm(module) and read[0].space.root() in places
    }
    left = _unsupported(seen, names)
    return Groups(model, list(units.values()), layers, left, norms, example)


def without_compiler(model: ModelT) -> ModelT:
    """The module that `torch.compile` was given, or the module itself."""
    original: ModelT = getattr(model, "_orig_mod", model)
    return original


def is_sparse(module: nn.Module) -> bool:
    """Whether a layer keeps its weights on a sparse pattern."""
    return isinstance(module, SparseLinear)


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _check_values(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(
                f"{name} is on the meta device and has no values; load or draw the weights first"
            )


def _run(model: nn.Module, arguments: tuple[Any, ...]) -> Spaces:
    layers = {module: width for module in model.modules() if (width := _outputs(module))}
    training = [module for module in model.modules() if module.training]
    spaces = Spaces(model, layers)
    given = [each for each in arguments if isinstance(each, Tensor)]
    model.eval()
    try:
        with torch.no_grad(), spaces.watching(given):
            spaces.freeze_outputs(model(*arguments))
    except DOES_NOT_FIT as error:
        raise InputError(f"the model does not run on example_input: {error}") from error
    finally:
        for module in training:
            module.training = True
    return spaces


def _outputs(module: Any) -> int:
    """Units a layer makes; 0 for a module that is no layer."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    return module.out_features if isinstance(module, nn.Linear) or is_sparse(module) else 0


def _freeze_the_rest(seen: Observation, inputs: bool) -> None:
    """Keep units that nothing reads as a whole, and those that a layer cannot lose."""
    if seen.input is not None and not inputs:
        seen.input.freeze("input", "inputs=False")
    read = {place.space.root() for places in seen.read.values() for place in places}
    for module, space in seen.made.items():
        if space.root() not in read:
            space.freeze("", "no layer that could be made smaller reads them")
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            _freeze_layer(seen, module, "a convolution in groups makes or reads them")
    calls: dict[nn.Module, Space | None] = {}
    for call in seen.calls:
        read_now = None if call.inputs is None else call.inputs.space.root()
        if calls.setdefault(call.module, read_now) is not read_now:
            for other in (read_now, calls[call.module]):
                if other is not None:
                    other.freeze("", "a layer that is called twice reads other units beside them")
    for module, places in seen.read.items():
        counted = {place.space.root() for place in places}
        if is_norm(module) and (len(counted) > 1 or module in seen.elsewhere):
            for space in counted:
                space.freeze("", "a norm that is called twice counts other units beside them")


def _freeze_lent_weights(seen: Observation, names: dict[nn.Module, str]) -> set[nn.Module]:
    """Keep the units of layers that do not own their weights, or not alone; return the layers."""
    lent = set()
    owners: dict[int, nn.Module] = {}
    for module in seen.made:
        why, where = "", ""
        others = {owners.setdefault(id(each), module) for each in module.parameters(recurse=False)}
        if others - {module}:
            why = f"{', '.join(sorted(names[each] for each in others | {module}))} share weights"
        elif parametrize.is_parametrized(module):
            why = "its weights are computed, by a parametrization"
        elif module in seen.borrowed:
            why, where = "a function beside the layer uses its weights", seen.borrowed[module]
        for each in others | {module} if why else ():
            _freeze_layer(seen, each, why, where)
            lent.add(each)
    return lent


def _freeze_layer(seen: Observation, module: nn.Module, why: str, where: str = "") -> None:
    """Keep the units that a layer makes, and those that it reads."""
    for space in (seen.made[module], *(place.space for place in seen.read.get(module, []))):
        space.freeze(where, why)


def _units(seen: Observation, names: dict[nn.Module, str]) -> dict[Space, Units]:
    members: dict[Space, list[Member]] = {}
    if seen.input is not None and seen.input.frozen is None:
        members[seen.input] = []
    for module, made in seen.made.items():
        if made.root().frozen is None:
            members.setdefault(made.root(), []).extend(_made_members(module, names[module]))
    for module, places in seen.read.items():
        space, repeat = places[0].space.root(), places[0].repeat
        if space in members:
            members[space].extend(_read_members(module, names[module], repeat))
    return {
        space: Units(
            index, space.name, space.size, INPUT if space is seen.input else HIDDEN, tuple(found)
        )
        for index, (space, found) in enumerate(members.items())
    }


def _made_members(module: Any, name: str) -> Iterable[Member]:
    if is_sparse(module):
        counts = module.row_offsets.diff()
        rows = torch.arange(module.out_features).repeat_interleave(counts)
        yield SparseMember(f"{name}.values", module.values, INCOMING, rows, module.out_features)
    else:
        yield DenseMember(f"{name}.weight", module.weight, INCOMING, axis=0)
    if module.bias is not None:
        yield DenseMember(f"{name}.bias", module.bias, BIAS, axis=0)


def _read_members(module: Any, name: str, repeat: int) -> Iterable[Member]:
    if is_norm(module):
        if module.affine:
            yield DenseMember(f"{name}.weight", module.weight, NORM, axis=0)
            yield DenseMember(f"{name}.bias", module.bias, NORM, axis=0)
    elif is_sparse(module):
        units = module.column_indices.long() // repeat
        size = module.in_features // repeat
        yield SparseMember(f"{name}.values", module.values, OUTGOING, units, size)
    else:
        yield DenseMember(f"{name}.weight", module.weight, OUTGOING, axis=1, repeat=repeat)


def _layer_use(
    call: Call, name: str, seen: Observation, places: dict[Space, int], *, prunable: bool
) -> LayerUse:
    module: Any = call.module
    made = seen.made[module]
    repeat = 1 if call.inputs is None else call.inputs.repeat
    layer = LayerUse(
        name,
        kind=SPARSE if is_sparse(module) else LINEAR,
        inputs=None if call.inputs is None else places.get(call.inputs.space.root()),
        outputs=places.get(made.root()),
        in_width=call.shape[-1] // repeat,
        out_width=made.size,
        repeat=repeat,
        prunable_elements=prunable,
    )
    if not isinstance(module, nn.Conv2d):
        return layer
    return replace(
        layer,
        kind=CONV,
        in_width=module.in_channels,
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=(0, 0) if isinstance(module.padding, str) else _pair(module.padding),
        size=_pair(call.shape[-2:]),
        prunable_elements=False,
    )


def _pair(sizes: Any) -> tuple[int, int]:
    height, width = sizes
    return int(height), int(width)


def _unsupported(seen: Observation, names: dict[nn.Module, str]) -> dict[str, str]:
    found = {}
    for module, space in seen.made.items():
        frozen = space.root().frozen
        if frozen is not None:
            where, why = frozen
            found[names[module]] = f"{why} ({where})" if where else why
    return found
