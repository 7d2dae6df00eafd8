"""Which channels depend on the sample, and which are always equal: found by running a model once.

A layer's unit depends on the sample if one of its non-zero weights meets a channel that does;
elementwise functions, pooling, additions and flattening hand on what is known of their channels;
what any other function does is not known, and nothing is concluded from its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.fssl.compaction.read_layer import is_layer, is_supported
from espalier.fssl.compaction.transfer import (
    Channels,
    behind_arithmetic,
    behind_average,
    behind_layer,
    behind_norm,
    behind_reshape,
    read_constants,
)
from espalier.fssl.groups.find import is_norm
from espalier.fssl.groups.torch_functions import (
    ARITHMETIC,
    AVERAGING,
    CONSTANT,
    ELEMENTWISE,
    POOLING,
    RESHAPING,
    keeps_channels,
    name_of,
)
from espalier.nn.torch_tools import tensors_in
from espalier.simplify.fold import Expansion

# Functions that of tensors without the sample make another such tensor, the same each time.
_FUNCTIONS = ELEMENTWISE | POOLING | ARITHMETIC | RESHAPING | AVERAGING | {"conv2d", "linear"}


class Dependence(TorchFunctionMode):
    """Follows what depends on the sample through one run of a model in evaluation mode.

    Attributes:
        readings: for each layer by name, what its input features are, call by call: the first
            feature that always equals each, or -1 and the value of a constant that may move
            into the layer's bias.
        borrowed: layers whose weights are also used outside of their own call.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.readings: dict[str, list[Expansion]] = {}
        self.borrowed: set[str] = set()
        self._leaves = {
            module: name
            for name, module in model.named_modules()
            if is_layer(module) or is_norm(module)
        }
        self._plain = {module for module in self._leaves if is_supported(module)}
        self._owners = {
            id(parameter): name
            for module, name in self._leaves.items()
            for parameter in module.parameters()
        }
        self._known: dict[int, Channels] = {}
        self._fixed: set[int] = set()  # tensors that depend on no sample at all
        self._kept: list[Tensor] = []  # so that no identity is given twice
        self._inside = 0
        for tensor in (*model.parameters(), *model.buffers()):
            self._fixed.add(id(tensor))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow everything computed within the block."""
        hooks = [
            hook
            for module in self._leaves
            for hook in (
                module.register_forward_pre_hook(self._enter),
                module.register_forward_hook(self._leave, always_call=True),
            )
        ]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not self._inside:
            given = list(tensors_in((args, kwargs)))
            self.borrowed.update(self._owners[id(x)] for x in given if id(x) in self._owners)
            if name_of(function) == "setitem":
                self._forget(args[0])
            for tensor in tensors_in(result):
                self._follow(function, given, tensor)
        return result

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and args:
            self._learn(module, args[0], output)
        self._inside -= 1  # only now: what is asked above is none of the model's doing

    def _learn(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        """What a layer reads, and what is known of what it makes of it."""
        axis = 1 if is_norm(module) else x.dim() - (3 if isinstance(module, nn.Conv2d) else 1)
        channels = self._channels(x, axis)
        if is_norm(module):
            if module in self._plain:
                self._put(output, behind_norm(module, channels))
            return
        constants = Expansion.identity(x.shape[axis])
        if module in self._plain:
            constants = read_constants(module, x, channels)
            self._put(output, Channels(axis, behind_layer(module, channels, constants)))
        self.readings.setdefault(self._leaves[module], []).append(constants)

    def _channels(self, x: Tensor, axis: int) -> Channels:
        """What is known along one axis."""
        if id(x) in self._fixed:
            return Channels.independent(axis, x.shape[axis])
        known = self._known.get(id(x))
        return known if known and known.axis == axis else Channels.unknown(axis, x.shape[axis])

    def _follow(self, function: Callable[..., Any], given: list[Tensor], result: Tensor) -> None:
        name = name_of(function)
        fixed = bool(given) and all(id(x) in self._fixed for x in given)
        known = None if fixed else self._known_of(name, given, result)
        if any(result is x for x in given):
            self._forget(result)  # it was changed in place, and so was what shares its memory
        if known is not None:
            self._put(result, known)
        elif (fixed and name in _FUNCTIONS and not _is_random(name, given, result)) or (
            name in CONSTANT and "empty" not in name
        ):
            self._fixed.add(id(result))
            self._kept.append(result)

    def _known_of(self, name: str, given: list[Tensor], result: Tensor) -> Channels | None:
        fixed = [x for x in given if id(x) in self._fixed]
        known = [(x, self._known[id(x)]) for x in given if id(x) in self._known]
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
            return channels.apart() if fixed else channels
        if name in RESHAPING:
            return behind_reshape(channels, source, result)
        if name in AVERAGING:
            return behind_average(name, channels, source, result)
        return None

    def _put(self, tensor: Tensor, known: Channels) -> None:
        self._known[id(tensor)] = known
        self._kept.append(tensor)

    def _forget(self, tensor: Tensor) -> None:
        """Conclude nothing more from a tensor, nor from those that share its memory."""
        memory = tensor.untyped_storage().data_ptr()
        for each in (tensor, *self._kept):
            if each.untyped_storage().data_ptr() == memory:
                self._known.pop(id(each), None)
                self._fixed.discard(id(each))


def _is_random(name: str, given: list[Tensor], result: Tensor) -> bool:
    """Whether a dropout dropped something, which it does not in evaluation mode."""
    return "dropout" in name and not torch.equal(result, given[0])
