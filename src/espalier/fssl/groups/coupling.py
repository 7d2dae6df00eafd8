"""Which axes of which tensors count the same units: found by running a model once.

Every tensor on the way from a layer to the next carries the space of its units along one axis.
Functions that work elementwise, pool or flatten hand it on; an addition ties two spaces into one;
a function that is not known freezes the spaces it reads, so that their units stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.fssl.groups.torch_functions import (
    ARITHMETIC,
    AVERAGING,
    CONSTANT,
    RESHAPING,
    averaged_axes,
    describes,
    keeps_channels,
    may_divide_by_zero,
    name_of,
)
from espalier.nn import ZeroSkipReLU
from espalier.nn.torch_tools import tensors_in


class Space:
    """A set of units that live and die together along every axis that counts them."""

    def __init__(self, size: int, name: str, order: int = -1) -> None:
        self.size = size
        self.order = order
        self.name = name
        self.frozen: tuple[str, str] | None = None  # where, and why
        self._parent: Space | None = None

    def root(self) -> Space:
        """The space this one was tied to, or itself."""
        return self if self._parent is None else self._parent.root()

    def freeze(self, where: str, why: str) -> None:
        """Keep all units."""
        root = self.root()
        root.frozen = root.frozen or (where, why)

    def tie(self, other: Space) -> None:
        """Make two spaces of equal size one; the earlier one gives the name."""
        ours, theirs = sorted((self.root(), other.root()), key=lambda space: space.order)
        if ours is theirs:
            return
        theirs._parent = ours
        ours.frozen = ours.frozen or theirs.frozen


@dataclass(frozen=True)
class Place:
    """Where a tensor counts the units of a space: along an axis, `repeat` positions each."""

    space: Space
    axis: int
    repeat: int = 1


@dataclass
class Call:
    """One call of a layer: the place of its input, and the shape that came."""

    module: nn.Module
    inputs: Place | None
    shape: torch.Size


@dataclass
class Observation:
    """What one run of a model has shown.

    Attributes:
        calls: of layers, in order.
        made: the space of each layer's outputs.
        read: what each layer and norm read, call by call.
        elsewhere: norms that were called on something that counts no units.
        borrowed: layers whose weights a function beside them used, and its name.
        input: the space of the model's inputs, if a linear layer reads them first.
    """

    calls: list[Call] = field(default_factory=list)
    made: dict[nn.Module, Space] = field(default_factory=dict)
    read: dict[nn.Module, list[Place]] = field(default_factory=dict)
    elsewhere: set[nn.Module] = field(default_factory=set)
    borrowed: dict[nn.Module, str] = field(default_factory=dict)
    input: Space | None = None


class Spaces(TorchFunctionMode):
    """Follows the spaces of a model while it runs."""

    def __init__(self, model: nn.Module, layers: dict[nn.Module, int]) -> None:
        super().__init__()
        self.seen = Observation()
        self._names = {module: name for name, module in model.named_modules()}
        self._places: dict[int, Place] = {}
        self._kept: list[Tensor] = []  # so that no identity is given twice
        self._from_input: set[int] = set()
        self._inside = 0
        # The layer of a tensor made from its weight, along axis 0 still by its outputs.
        self._weights: dict[int, nn.Module] = {}
        for order, (module, outputs) in enumerate(layers.items()):
            self.seen.made[module] = Space(outputs, self._names[module], order)
            for parameter in module.parameters(recurse=False):
                self._weights[id(parameter)] = module

    @contextmanager
    def watching(self, inputs: Iterable[Tensor]) -> Iterator[None]:
        """Follow everything computed from these inputs within the block."""
        for each in inputs:
            self._from_input.add(id(each))
            self._kept.append(each)
        hooks = [
            hook
            for module in self._names
            if self._is_leaf(module)
            for hook in (
                module.register_forward_pre_hook(self._enter),
                # Before the module's own hooks, so that what they do is followed too.
                module.register_forward_hook(self._leave, always_call=True, prepend=True),
            )
        ]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def freeze_outputs(self, output: Any) -> None:
        """The model's own outputs keep all their units."""
        self._freeze(tensors_in(output), "", "it is an output of the model")

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not self._inside:
            self._watch(name_of(function), args, kwargs, list(tensors_in(result)))
        return result

    def _watch(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        """Follow what a call made of tensors, or read of them."""
        given = list(tensors_in((args, kwargs)))
        for tensor in results:
            self._follow(name, given, tensor, args, kwargs)
        writes = name.startswith(".") and len(given) > 1
        if not results and (writes or not describes(name)):
            self._freeze(given, name, "the model reads or writes their values")

    def _is_leaf(self, module: nn.Module) -> bool:
        norm = nn.modules.batchnorm._BatchNorm
        return module in self.seen.made or isinstance(module, (norm, ZeroSkipReLU))

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._inside -= 1
        if not isinstance(output, Tensor):
            return
        x = args[0]
        if isinstance(module, ZeroSkipReLU):
            self._follow("relu", [x], output, args, {})
            return
        if module not in self.seen.made:
            self._norm(module, x, output)
            return
        place = self._reading(module, x)
        if place is not None:
            self.seen.read.setdefault(module, []).append(place)
        self.seen.calls.append(Call(module, place, x.shape))
        axis = output.dim() - (3 if isinstance(module, nn.Conv2d) else 1)
        self._put(output, Place(self.seen.made[module], axis))

    def _norm(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        place = self._places.get(id(x))
        if place is None:
            self.seen.elsewhere.add(module)
            return
        if place.repeat == 1 and place.axis == 1:
            self.seen.read.setdefault(module, []).append(place)
        else:
            self._freeze([x], self._names[module], "this norm is not by its units")
        self._put(output, place)

    def _reading(self, module: nn.Module, x: Tensor) -> Place | None:
        """The place of what a layer reads; inputs of a first linear layer become units."""
        axis = x.dim() - (3 if isinstance(module, nn.Conv2d) else 1)
        place = self._places.get(id(x))
        if place is not None:
            if place.axis == axis:
                return place
            self._freeze([x], self._names[module], "the layer reads along another axis")
        elif id(x) in self._from_input and not isinstance(module, nn.Conv2d):
            if self.seen.input is None or self.seen.input.size != x.shape[-1]:
                self.seen.input = self.seen.input or Space(x.shape[-1], "input")
            if self.seen.input.size == x.shape[-1]:
                return Place(self.seen.input, axis)
        return None

    def _follow(
        self, name: str, given: list[Tensor], result: Tensor, args: Any, kwargs: Any
    ) -> None:
        if name in CONSTANT:
            return
        placed = [tensor for tensor in given if id(tensor) in self._places]
        if not placed:
            self._follow_others(name, given, result, args, kwargs)
            return
        self._borrow(name, given)
        source, place = placed[0], self._places[id(placed[0])]
        alone = len(given) == 1 and result.dim() == source.dim()
        if alone and keeps_channels(name, place.axis, source.dim()):
            self._put(result, place)
        elif name in ARITHMETIC:
            self._combine(name, given, result)
        elif name in RESHAPING and (reshaped := _reshaped(place, source, result)):
            self._put(result, reshaped)
        elif name in AVERAGING and min(averaged_axes(args, kwargs, source.dim())) > place.axis:
            self._put(result, place)
        else:
            self._freeze(placed, name, "what this function does with them is not known")

    def _follow_others(
        self, name: str, given: list[Tensor], result: Tensor, args: Any, kwargs: Any
    ) -> None:
        """Tensors made of inputs, or of weights alone."""
        if any(id(tensor) in self._from_input for tensor in given):
            self._from_input.add(id(result))
            self._kept.append(result)
            self._borrow(name, given)
            return
        made = [self._weights[id(tensor)] for tensor in given if id(tensor) in self._weights]
        if not made:
            return
        if name == "conv2d" and id(given[0]) not in self._weights:
            self._put(result, Place(self.seen.made[made[0]], 1))
        elif name in AVERAGING and averaged_axes(args, kwargs, given[0].dim())[0] > 0:
            self._weights[id(result)] = made[0]
            self._kept.append(result)
        else:
            self._borrow(name, given)

    def _borrow(self, name: str, given: Iterable[Tensor]) -> None:
        for tensor in given:
            if id(tensor) in self._weights:
                self.seen.borrowed.setdefault(self._weights[id(tensor)], name)

    def _combine(self, name: str, given: list[Tensor], result: Tensor) -> None:
        """An addition or product of tensors: their units are the same units."""
        places = [self._places.get(id(tensor)) for tensor in given]
        first = next(place for place in places if place is not None)
        axes = {
            place.axis - tensor.dim()
            for tensor, place in zip(given, places, strict=True)
            if place is not None
        }
        if len(axes) > 1:
            self._freeze(given, name, "units along different axes are joined")
            return
        if may_divide_by_zero(name, [place is not None for place in places]):
            self._freeze(given, name, "a removed unit would divide by 0")
        (from_end,) = axes
        for tensor, place in zip(given, places, strict=True):
            if place is None:
                if tensor.dim() < -from_end or tensor.shape[from_end] == 1:
                    continue
                first.space.freeze(name, "a tensor with one number for each of them joins them")
            elif place.repeat != first.repeat or place.space.size != first.space.size:
                first.space.freeze(name, "units of different layers are joined")
                place.space.freeze(name, "units of different layers are joined")
            else:
                first.space.tie(place.space)
        self._put(result, Place(first.space, result.dim() + from_end, first.repeat))

    def _put(self, tensor: Tensor, place: Place) -> None:
        self._places[id(tensor)] = place
        self._kept.append(tensor)

    def _freeze(self, tensors: Iterable[Tensor], where: str, why: str) -> None:
        for tensor in tensors:
            place = self._places.get(id(tensor))
            if place is not None:
                place.space.freeze(where, why)


def _reshaped(place: Place, source: Tensor, result: Tensor) -> Place | None:
    """The place behind a view that leaves the units where they are, or flattens what is behind."""
    if source.shape == result.shape:
        return place
    before, after = source.shape[: place.axis], source.shape[place.axis + 1 :]
    flat = result.dim() == place.axis + 1 and result.shape[: place.axis] == before
    if flat and place.repeat == 1 and result.shape[-1] == source.shape[place.axis] * prod(after):
        return Place(place.space, place.axis, prod(after))
    return None
