"""Which axes of which tensors count the same units: found by running a model once.

Every tensor on the way from a layer to the next carries the group of its units along one axis.
Functions that work elementwise, pool or flatten hand it on; an addition makes two groups one; a
function that is not known excludes the groups that it reads, so that their units stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espalier.fssl.groups.modules import channel_axis, is_norm, units_of
from espalier.fssl.groups.torch_functions import (
    ARITHMETIC,
    AVERAGING,
    CONSTANT,
    RESHAPING,
    averaged_axes,
    describes,
    flattened,
    keeps_channels,
    may_divide_by_zero,
)
from espalier.fssl.groups.trace import ChannelTracer
from espalier.nn import ZeroSkipReLU
from espalier.nn.torch_tools import tensors_in


class ChannelGroup:
    """A set of units that live and die together along every axis that counts them."""

    def __init__(self, size: int, name: str, order: int = -1) -> None:
        self.size = size
        self.order = order
        self.name = name
        self.excluded: tuple[str, str] | None = None  # where, and why
        self._parent: ChannelGroup | None = None

    def root(self) -> ChannelGroup:
        """The group this one was united with, or itself."""
        return self if self._parent is None else self._parent.root()

    def exclude(self, where: str, why: str) -> None:
        """Keep all units."""
        root = self.root()
        root.excluded = root.excluded or (where, why)

    def union(self, other: ChannelGroup) -> None:
        """Make two groups of equal size one; the earlier one gives the name."""
        ours, theirs = sorted((self.root(), other.root()), key=lambda group: group.order)
        if ours is theirs:
            return
        theirs._parent = ours
        ours.excluded = ours.excluded or theirs.excluded


@dataclass(frozen=True)
class ChannelAxis:
    """Where a tensor counts the units of a group: along an axis, `repeat` positions each."""

    group: ChannelGroup
    axis: int
    repeat: int = 1


@dataclass
class LayerCall:
    """One call of a layer: the channels of its input, and the shape that came."""

    module: nn.Module
    inputs: ChannelAxis | None
    shape: torch.Size


@dataclass
class Coupling:
    """What one run of a model has shown.

    Attributes:
        calls: of layers, in order.
        made: the group of each layer's outputs.
        read: what each layer and norm read, call by call.
        norms_elsewhere: norms that were called on something that counts no units.
        shared_weight: layers whose weights a function beside them used, and its name.
        input: the group of the model's inputs, if a linear layer reads them first.
    """

    calls: list[LayerCall] = field(default_factory=list)
    made: dict[nn.Module, ChannelGroup] = field(default_factory=dict)
    read: dict[nn.Module, list[ChannelAxis]] = field(default_factory=dict)
    norms_elsewhere: set[nn.Module] = field(default_factory=set)
    shared_weight: dict[nn.Module, str] = field(default_factory=dict)
    input: ChannelGroup | None = None


def trace_coupling(model: nn.Module, arguments: tuple[Any, ...]) -> Coupling:
    """Run a model once, in evaluation mode; the units of its own outputs are excluded."""
    tracer = _CouplingTracer(model, [each for each in arguments if isinstance(each, Tensor)])
    output = tracer.trace(model, arguments)
    tracer.exclude(tensors_in(output), "", "it is an output of the model")
    return tracer.found


class _CouplingTracer(ChannelTracer[ChannelAxis]):
    """Follows the groups of a model while it runs."""

    def __init__(self, model: nn.Module, inputs: list[Tensor]) -> None:
        modules = {module: name for name, module in model.named_modules()}
        super().__init__(
            module
            for module in modules
            if units_of(module) or is_norm(module) or isinstance(module, ZeroSkipReLU)
        )
        self.found = Coupling()
        self._names = modules
        # Tensors of the input, and the layer of a tensor made from its weight, along axis 0 still
        # by its outputs.
        self._from_input = {id(each) for each in inputs}
        self._weights: dict[int, nn.Module] = {}
        for module in modules:
            if width := units_of(module):
                order = len(self.found.made)
                self.found.made[module] = ChannelGroup(width, modules[module], order)
                for parameter in module.parameters(recurse=False):
                    self._weights[id(parameter)] = module

    def exclude(self, tensors: Iterable[Tensor], where: str, why: str) -> None:
        """Keep all the units that some tensors count."""
        for tensor in tensors:
            channels = self._facts.get(id(tensor))
            if channels is not None:
                channels.group.exclude(where, why)

    def after_function(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        given = list(tensors_in((args, kwargs)))
        for tensor in results:
            self._follow(name, given, tensor, args, kwargs)
        writes = name.startswith(".") and len(given) > 1
        if not results and (writes or not describes(name)):
            self.exclude(given, name, "the model reads or writes their values")

    def after_module(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        if isinstance(module, ZeroSkipReLU):
            self._follow("relu", [x], output, (x,), {})
        elif is_norm(module):
            self._after_norm(module, x, output)
        else:
            channels = self._channels_read(module, x)
            if channels is not None:
                self.found.read.setdefault(module, []).append(channels)
            self.found.calls.append(LayerCall(module, channels, x.shape))
            axis = channel_axis(module, output.dim())
            self.keep(output, ChannelAxis(self.found.made[module], axis))

    def _after_norm(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        channels = self._facts.get(id(x))
        if channels is None:
            self.found.norms_elsewhere.add(module)
            return
        if channels.repeat == 1 and channels.axis == 1:
            self.found.read.setdefault(module, []).append(channels)
        else:
            self.exclude([x], self._names[module], "this norm is not by its units")
        self.keep(output, channels)

    def _channels_read(self, module: nn.Module, x: Tensor) -> ChannelAxis | None:
        """The channels that a layer reads; inputs of a first linear layer become units."""
        axis = channel_axis(module, x.dim())
        channels = self._facts.get(id(x))
        if channels is not None:
            if channels.axis == axis:
                return channels
            self.exclude([x], self._names[module], "the layer reads along another axis")
        elif id(x) in self._from_input and not isinstance(module, nn.Conv2d):
            self.found.input = self.found.input or ChannelGroup(x.shape[-1], "input")
            if self.found.input.size == x.shape[-1]:
                return ChannelAxis(self.found.input, axis)
        return None

    def _follow(
        self, name: str, given: list[Tensor], result: Tensor, args: Any, kwargs: Any
    ) -> None:
        if name in CONSTANT:
            return
        counting = [tensor for tensor in given if id(tensor) in self._facts]
        if not counting:
            self._follow_others(name, given, result, args, kwargs)
            return
        self._share_weights(name, given)
        source, channels = counting[0], self._facts[id(counting[0])]
        alone = len(given) == 1 and result.dim() == source.dim()
        if alone and keeps_channels(name, channels.axis, source.dim()):
            self.keep(result, channels)
        elif name in ARITHMETIC:
            self._combine(name, given, result)
        elif name in RESHAPING and (reshaped := _reshaped(channels, source, result)):
            self.keep(result, reshaped)
        elif name in AVERAGING and min(averaged_axes(args, kwargs, source.dim())) > channels.axis:
            self.keep(result, channels)
        else:
            self.exclude(counting, name, "what this function does with them is not known")

    def _follow_others(
        self, name: str, given: list[Tensor], result: Tensor, args: Any, kwargs: Any
    ) -> None:
        """Tensors made of inputs, or of weights alone."""
        if any(id(tensor) in self._from_input for tensor in given):
            self._from_input.add(id(result))
            self.keep(result)
            self._share_weights(name, given)
            return
        made = [self._weights[id(tensor)] for tensor in given if id(tensor) in self._weights]
        if not made:
            return
        if name == "conv2d" and id(given[0]) not in self._weights:
            self.keep(result, ChannelAxis(self.found.made[made[0]], 1))
        elif name in AVERAGING and averaged_axes(args, kwargs, given[0].dim())[0] > 0:
            self._weights[id(result)] = made[0]
            self.keep(result)
        else:
            self._share_weights(name, given)

    def _share_weights(self, name: str, given: Iterable[Tensor]) -> None:
        for tensor in given:
            if id(tensor) in self._weights:
                self.found.shared_weight.setdefault(self._weights[id(tensor)], name)

    def _combine(self, name: str, given: list[Tensor], result: Tensor) -> None:
        """An addition or product of tensors: their units are the same units."""
        operands = [(tensor, self._facts.get(id(tensor))) for tensor in given]
        counting = [(tensor, channels) for tensor, channels in operands if channels is not None]
        axes = {channels.axis - tensor.dim() for tensor, channels in counting}
        if len(axes) > 1:
            self.exclude(given, name, "units along different axes are joined")
            return
        if may_divide_by_zero(name, [channels is not None for _, channels in operands]):
            self.exclude(given, name, "a removed unit would divide by 0")
        (from_end,) = axes
        first = counting[0][1]
        for tensor, channels in operands:
            if channels is None:
                if tensor.dim() < -from_end or tensor.shape[from_end] == 1:
                    continue
                first.group.exclude(name, "a tensor with one number for each of them joins them")
            elif channels.repeat != first.repeat or channels.group.size != first.group.size:
                first.group.exclude(name, "units of different layers are joined")
                channels.group.exclude(name, "units of different layers are joined")
            else:
                first.group.union(channels.group)
        self.keep(result, ChannelAxis(first.group, result.dim() + from_end, first.repeat))


def _reshaped(channels: ChannelAxis, source: Tensor, result: Tensor) -> ChannelAxis | None:
    """The channels behind a view that leaves the units where they are, or flattens the rest."""
    if source.shape == result.shape:
        return channels
    positions = flattened(channels.axis, source.shape, result.shape)
    if positions is None or channels.repeat != 1:
        return None
    return ChannelAxis(channels.group, channels.axis, positions)
