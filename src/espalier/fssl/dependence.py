"""Which channels depend on the sample, and which are always equal: found by running a model once.

This is constant propagation and value numbering, channel by channel. A layer's unit depends on
the sample if one of its non-zero weights meets a channel that does; elementwise functions, pooling
and additions hand on what is known, anything else forgets it. What a constant channel holds is
read off the run itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.fssl.find import is_norm
from espalier.fssl.layers import is_layer, numbers, read_layer, taps
from espalier.fssl.spaces import ARITHMETIC, AVERAGING, CONSTANT, ELEMENTWISE, RESHAPING
from espalier.inference.decompose import Expansion, equal_rows, fold_inputs

INDEPENDENT = -1


@dataclass(frozen=True)
class Channels:
    """What is known of the channels along one axis of a tensor.

    Attributes:
        axis: which one.
        same: int32 ``[channels]``, for each the first channel that always equals it, or -1
            (`INDEPENDENT`) for one that does not depend on the sample.
    """

    axis: int
    same: NDArray[np.int32]

    @classmethod
    def unknown(cls, axis: int, width: int) -> Channels:
        """Every channel may be anything."""
        return cls(axis, np.arange(width, dtype=np.int32))

    def apart(self) -> Channels:
        """The same, but channels that depend on the sample are no longer known to be equal."""
        every = np.arange(len(self.same), dtype=np.int32)
        return Channels(self.axis, np.where(self.same < 0, self.same, every))


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
        self._owners = {
            id(parameter): name
            for module, name in self._leaves.items()
            for parameter in module.parameters()
        }
        # None for a tensor that may depend on the sample in any way.
        self._known: dict[int, Channels | None] = {}
        self._kept: list[Tensor] = []  # so that no identity is given twice
        self._inside = 0

    @contextmanager
    def watching(self, inputs: Iterable[Any]) -> Iterator[None]:
        """Follow everything computed from these inputs within the block."""
        for tensor in _tensors(inputs):
            self._put(tensor, None)
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
            if getattr(function, "__name__", "") == "__setitem__":
                self._put(args[0], None)
            given = list(_tensors((args, kwargs)))
            self.borrowed.update(self._owners[id(x)] for x in given if id(x) in self._owners)
            for tensor in _tensors(result):
                self._follow(function, given, tensor)
        return result

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self._learn(module, args[0], output)
        self._inside -= 1  # only now: what is asked above is none of the model's doing

    def _learn(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        if is_norm(module):
            channels = self._channels(x, 1)
            self._put(output, _normalised(module, channels))
            return
        axis = x.dim() - (3 if isinstance(module, nn.Conv2d) else 1)
        channels = self._channels(x, axis)
        reading = _reading(module, x, channels)
        self.readings.setdefault(self._leaves[module], []).append(reading)
        self._put(output, Channels(axis, _units(module, channels, reading)))

    def _channels(self, x: Tensor, axis: int) -> Channels:
        """What is known along one axis; a tensor made without the input depends on nothing."""
        width = x.shape[axis]
        if id(x) not in self._known:
            return Channels(axis, np.full(width, INDEPENDENT, np.int32))
        known = self._known[id(x)]
        return known if known and known.axis == axis else Channels.unknown(axis, width)

    def _follow(self, function: Callable[..., Any], given: list[Tensor], result: Tensor) -> None:
        name = getattr(function, "__name__", str(function)).strip("_")
        followed = [tensor for tensor in given if id(tensor) in self._known]
        if followed and name not in CONSTANT:
            self._put(result, self._known_of(name, followed, given, result))

    def _known_of(
        self, name: str, followed: list[Tensor], given: list[Tensor], result: Tensor
    ) -> Channels | None:
        source, first = followed[0], self._known[id(followed[0])]
        if first is None:
            return None
        if name in ARITHMETIC:
            return self._combined(given, result)
        if len(followed) > 1:
            return None
        if name in ELEMENTWISE and result.dim() == source.dim():
            if "dropout" in name and not torch.equal(result, source):
                return None
            return first if len(given) == 1 else first.apart()
        if name in RESHAPING:
            return _reshaped(first, source, result)
        if name in AVERAGING:
            return _reduced(name, first, source, result)
        return None

    def _combined(self, given: list[Tensor], result: Tensor) -> Channels | None:
        """An addition or product: independent or equal where all its operands are."""
        known = [(x, self._known[id(x)]) for x in given if id(x) in self._known]
        places = {(c.axis - x.dim(), len(c.same)) if c else None for x, c in known}
        if len(places) != 1 or None in places:
            return None
        (from_end, _), *_ = (place for place in places if place)
        same = np.stack([channels.same for _, channels in known if channels], axis=1)
        independent = (same < 0).all(axis=1)
        first = np.where(independent, np.int32(INDEPENDENT), first_equal(same))
        together = Channels(result.dim() + from_end, first)
        others = [x for x in given if id(x) not in self._known]
        by_channel = any(x.dim() >= -from_end and x.shape[from_end] > 1 for x in others)
        mixed = (same < 0).any(axis=1) & ~independent
        return together.apart() if by_channel or mixed.any() else together

    def _put(self, tensor: Tensor, known: Channels | None) -> None:
        self._known[id(tensor)] = known
        self._kept.append(tensor)


def _reading(module: Any, x: Tensor, channels: Channels) -> Expansion:
    """What each input feature of a layer is: another one, itself, or a constant with its value."""
    rows = x.detach().movedim(channels.axis, 0).reshape(len(channels.same), -1)
    value = numbers(rows[:, 0])
    constant = (channels.same < 0) & (rows == rows[:, :1]).all(1).numpy() & np.isfinite(value)
    if isinstance(module, nn.Conv2d) and _pads(module):
        constant &= value == 0.0  # the border would see the padding instead
    unit = np.where(channels.same < 0, np.arange(len(value)), channels.same)
    return Expansion(
        np.where(constant, INDEPENDENT, unit).astype(np.int32),
        np.where(constant, value, np.float32(0.0)),
    )


def _units(module: Any, channels: Channels, reading: Expansion) -> NDArray[np.int32]:
    """The first equal unit of each unit that a layer makes, or -1."""
    if getattr(module, "groups", 1) != 1:
        return Channels.unknown(1, module.out_channels).same
    layer = read_layer(module)
    dependent = np.repeat(channels.same >= 0, taps(module))[layer.column_indices]
    rows = np.repeat(np.arange(layer.outputs), np.diff(layer.row_offsets))
    depends = np.bincount(rows, dependent, minlength=layer.outputs) > 0
    equal = equal_rows(fold_inputs(layer, widened(reading, taps(module))))
    return np.where(depends, equal, INDEPENDENT).astype(np.int32)


def widened(expansion: Expansion, repeat: int) -> Expansion:
    """Each entry `repeat` times: from channels to the columns of their weights.

    >>> units = Expansion(np.array([0, -1, 0], np.int32), np.array([0, 2, 0], np.float32))
    >>> widened(units, 2).unit.tolist()
    [0, 1, -1, -1, 0, 1]
    """
    unit = np.repeat(expansion.unit, repeat)
    column = np.tile(np.arange(repeat, dtype=np.int32), len(expansion.unit))
    wide = np.where(unit < 0, unit, unit * repeat + column).astype(np.int32)
    return Expansion(wide, np.repeat(expansion.constant, repeat))


def _normalised(norm: Any, channels: Channels) -> Channels:
    """A batch norm maps each channel by itself; a scale of 0 leaves a constant."""
    columns = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    keys = [channels.same, *(numbers(each) for each in columns if each is not None)]
    same = np.where(channels.same < 0, INDEPENDENT, first_equal(np.stack(keys, axis=1)))
    if norm.weight is not None:
        same[numbers(norm.weight) == 0.0] = INDEPENDENT
    return Channels(channels.axis, same.astype(np.int32))


def first_equal(keys: NDArray[Any]) -> NDArray[np.int32]:
    """For each row, the first row that equals it."""
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first[inverse.ravel()].astype(np.int32)


def _reshaped(channels: Channels, source: Tensor, result: Tensor) -> Channels | None:
    """Behind a flatten, each channel is as many features as it had positions."""
    if source.shape == result.shape:
        return channels
    axis = channels.axis
    before, behind = source.shape[:axis], prod(source.shape[axis + 1 :])
    if (*before, source.shape[axis] * behind) != tuple(result.shape):
        return None
    features = widened(Expansion(channels.same, np.zeros(len(channels.same), np.float32)), behind)
    return Channels(axis, features.unit)


def _reduced(name: str, channels: Channels, source: Tensor, result: Tensor) -> Channels | None:
    """Behind a mean or sum over all that is behind the channels."""
    behind = list(range(channels.axis + 1, source.dim()))
    if not behind or result.dim() <= channels.axis:
        return None
    wanted = getattr(source, name)(behind, keepdim=result.dim() == source.dim())
    return channels if torch.equal(wanted, result) else None


def _pads(conv: nn.Conv2d) -> bool:
    return conv.padding == "same" or (conv.padding != "valid" and any(conv.padding))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
