"""Which channels depend on the sample, and which are always equal: found by running a model once.

A layer's unit depends on the sample if one of its non-zero weights meets a channel that does;
elementwise functions, pooling, additions and flattening hand on what is known of their channels;
what any other function does is not known, and nothing is concluded from its result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.fssl.compaction.transfer import (
    Channels,
    behind_arithmetic,
    behind_average,
    behind_layer,
    behind_norm,
    behind_reshape,
    read_constants,
)
from espalier.fssl.groups.modules import channel_axis, is_norm, is_supported, units_of
from espalier.fssl.groups.torch_functions import (
    ARITHMETIC,
    AVERAGING,
    CONSTANT,
    ELEMENTWISE,
    POOLING,
    RESHAPING,
    keeps_channels,
)
from espalier.fssl.groups.trace import ChannelTracer
from espalier.nn.torch_tools import tensors_in
from espalier.simplify.fold import Expansion

# Functions that of tensors without the sample make another such tensor, the same each time.
_FUNCTIONS = ELEMENTWISE | POOLING | ARITHMETIC | RESHAPING | AVERAGING | {"conv2d", "linear"}


class ValueNumbering(ChannelTracer[Channels]):
    """Follows what depends on the sample through one run of a model.

    Attributes:
        readings: for each layer by name, what its input features are, call by call: the first
            feature that always equals each, or -1 and the value of a constant that may move
            into the layer's bias.
        shared_weight: layers whose weights are also used outside of their own call.
    """

    def __init__(self, model: nn.Module) -> None:
        names = {
            module: name
            for name, module in model.named_modules()
            if units_of(module) or is_norm(module)
        }
        super().__init__(names)
        self.readings: dict[str, list[Expansion]] = {}
        self.shared_weight: set[str] = set()
        self._names = names
        self._supported = {module for module in names if is_supported(module)}
        self._owners = {
            id(parameter): name
            for module, name in names.items()
            for parameter in module.parameters()
        }
        # Tensors that depend on no sample at all.
        self._fixed = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def after_function(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        given = list(tensors_in((args, kwargs)))
        self.shared_weight.update(self._owners[id(x)] for x in given if id(x) in self._owners)
        if name == "setitem":
            self._forget(args[0])
        for tensor in results:
            self._follow(name, given, tensor)

    def after_module(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        axis = 1 if is_norm(module) else channel_axis(module, x.dim())
        channels = self._channels(x, axis)
        if is_norm(module):
            if module in self._supported:
                self.keep(output, behind_norm(module, channels))
            return
        constants = Expansion.identity(x.shape[axis])
        if module in self._supported:
            constants = read_constants(module, x, channels)
            self.keep(output, Channels(axis, behind_layer(module, channels, constants)))
        self.readings.setdefault(self._names[module], []).append(constants)

    def _channels(self, x: Tensor, axis: int) -> Channels:
        """What is known along one axis."""
        if id(x) in self._fixed:
            return Channels.independent(axis, x.shape[axis])
        known = self._facts.get(id(x))
        return known if known and known.axis == axis else Channels.unknown(axis, x.shape[axis])

    def _follow(self, name: str, given: list[Tensor], result: Tensor) -> None:
        fixed = bool(given) and all(id(x) in self._fixed for x in given)
        known = None if fixed else self._fact_behind(name, given, result)
        if any(result is x for x in given):
            self._forget(result)  # it was changed in place, and so was what shares its memory
        if known is not None:
            self.keep(result, known)
        elif (fixed and name in _FUNCTIONS and not _is_random(name, given, result)) or (
            name in CONSTANT and "empty" not in name
        ):
            self._fixed.add(id(result))
            self.keep(result)

    def _fact_behind(self, name: str, given: list[Tensor], result: Tensor) -> Channels | None:
        fixed = [x for x in given if id(x) in self._fixed]
        known = [(x, self._facts[id(x)]) for x in given if id(x) in self._facts]
        if not known or len(fixed) + len(known) < len(given):
            return None
        if name in ARITHMETIC:
            return behind_arithmetic(known, fixed, result)
        if len(known) > 1:
            return None
        ((source, channels),) = known
        if keeps_channels(name, channels.axis, source.dim()) and result.dim() == source.dim():
            if _is_random(name, given, result):
                return None
            return channels.distinct() if fixed else channels
        if name in RESHAPING:
            return behind_reshape(channels, source, result)
        if name in AVERAGING:
            return behind_average(name, channels, source, result)
        return None

    def _forget(self, tensor: Tensor) -> None:
        """Conclude nothing more from a tensor, nor from those that share its memory."""
        memory = tensor.untyped_storage().data_ptr()
        for each in (tensor, *self._kept):
            if each.untyped_storage().data_ptr() == memory:
                self._facts.pop(id(each), None)
                self._fixed.discard(id(each))


def _is_random(name: str, given: list[Tensor], result: Tensor) -> bool:
    """Whether a dropout dropped something, which it does not in evaluation mode."""
    return "dropout" in name and not torch.equal(result, given[0])
