"""Coupled groups: everything that disappears together when a unit does.

The group of a unit is its incoming row, its bias, its pair of batch-norm parameters and its
outgoing column. Rescaling a ReLU network can move the norm of a row to the next layer's column,
but not out of such a group, and a group of zeros can be removed without changing the output.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import InputError
from espalier.fssl.groups.modules import weight_of
from espalier.fssl.groups.slices import ParameterSlice

HIDDEN, INPUT = "hidden", "input"
LINEAR, CONV, SPARSE = "linear", "conv", "sparse"


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one layer (or of layers united by additions), which can be removed one by one.

    Attributes:
        index: position in `Groups.units`.
        name: of the module that makes them, or ``"input"``.
        size: how many there are at full size.
        kind: ``"hidden"``, or ``"input"`` for inputs that a network may stop reading.
        slices: where the groups' entries lie.
    """

    index: int
    name: str
    size: int
    kind: str
    slices: tuple[ParameterSlice, ...]

    @property
    def members(self) -> tuple[ParameterSlice, ...]:
        """Another name of `slices`."""
        return self.slices

    def norms(self) -> Tensor:
        """The Euclidean norm of each group, ``[size]``."""
        squares = torch.zeros(self.size)
        for piece in self.slices:
            squares += piece.squares()
        return squares.sqrt()

    def counts(self) -> Tensor:
        """The number of entries of each group, ``[size]``."""
        counts = torch.zeros(self.size)
        for piece in self.slices:
            counts += piece.counts()
        return counts

    def alive(self) -> Tensor:
        """Bool ``[size]``: False where every entry of the group is exactly 0."""
        alive = torch.zeros(self.size, dtype=torch.bool)
        for piece in self.slices:
            alive |= piece.sums((piece.parameter.detach() != 0).float()) > 0
        return alive

    def scale_(self, factors: Tensor) -> None:
        """Multiply every entry of each group by the group's factor, ``[size]``."""
        for piece in self.slices:
            piece.scale_(factors)


@dataclass(frozen=True)
class LayerUse:
    """One layer with weights, as the time model and compaction see it.

    Attributes:
        name: of the module in the model.
        kind: ``"linear"``, ``"conv"`` or ``"sparse"``.
        inputs, outputs: which of `Groups.units` it reads and makes; None where those stay.
        in_width, out_width: units read and made at full size.
        repeat: features read from each input unit, more than 1 behind a flatten.
        kernel, stride, padding: of a convolution.
        size: height and width of its input.
        prunable_elements: whether single weights may become zeros of a sparse layer.
        calls: how often the model calls it.
    """

    name: str
    kind: str
    inputs: int | None
    outputs: int | None
    in_width: int
    out_width: int
    repeat: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (1, 1)
    prunable_elements: bool = False
    calls: int = 1

    @property
    def positions(self) -> int:
        """Output positions of one sample; 1 for a linear layer."""
        height, width = (
            (self.size[axis] + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1
            for axis in (0, 1)
        )
        return height * width

    def multiply_adds(self, inputs: int, outputs: int) -> int:
        """Multiply-adds of one sample with so many units alive."""
        window = self.kernel[0] * self.kernel[1]
        return self.positions * window * self.repeat * inputs * outputs

    def weights(self, inputs: int, outputs: int) -> int:
        """Weights with so many units alive, biases not counted."""
        return self.kernel[0] * self.kernel[1] * self.repeat * inputs * outputs


@dataclass(frozen=True, eq=False)
class Groups:
    """The coupled groups of a model; ``print(groups)`` says what can shrink and what cannot.

    Attributes:
        model: the model they belong to.
        units: families of units that can be removed.
        layers: every linear and convolution layer, in order of execution.
        unsupported: what stays as it is, by name, and why.
        norms: for each batch norm that counts units, by name, the index of its family.
        example: the arguments that the model was run on.
    """

    model: nn.Module
    units: list[Units]
    layers: list[LayerUse]
    unsupported: dict[str, str] = field(default_factory=dict)
    norms: dict[str, int] = field(default_factory=dict)
    example: tuple[Any, ...] = ()

    @property
    def full_widths(self) -> list[int]:
        """The size of each family."""
        return [units.size for units in self.units]

    @property
    def full_nonzeros(self) -> list[int | None]:
        """The weights of each layer that is sparse from the start; None for the others."""
        return [
            self.weight(layer).numel() if layer.kind == SPARSE else None for layer in self.layers
        ]

    def alive(self) -> list[Tensor]:
        """For each family, bool ``[size]``: which groups hold anything but zeros."""
        return [units.alive() for units in self.units]

    def widths(self) -> list[int]:
        """The number of living groups of each family."""
        return [int(alive.sum()) for alive in self.alive()]

    def module(self, layer: LayerUse) -> nn.Module:
        """The module of a layer."""
        return self.model.get_submodule(layer.name)

    def weight(self, layer: LayerUse) -> nn.Parameter:
        """The weights of a layer, or the values of a sparse one."""
        return weight_of(self.module(layer))

    def nonzeros(self) -> list[int]:
        """For each layer, the weights that are not exactly 0."""
        return [int(torch.count_nonzero(self.weight(layer))) for layer in self.layers]

    def layer_widths(self, layer: LayerUse, widths: Sequence[int] | None = None) -> tuple[int, int]:
        """Input and output units of a layer when so many units of each family are alive."""
        widths = self.full_widths if widths is None else widths
        inputs = layer.in_width if layer.inputs is None else widths[layer.inputs]
        outputs = layer.out_width if layer.outputs is None else widths[layer.outputs]
        return inputs, outputs

    def weights(self, widths: Sequence[int] | None = None) -> int:
        """Weights of the compact dense network with such widths, biases not counted."""
        return sum(layer.weights(*self.layer_widths(layer, widths)) for layer in self.layers)

    def check_zeros(self, part: float, learns: Container[Tensor] | None = None) -> None:
        """Refuse to zero more of the weights, one by one, than linear layers hold.

        Arguments:
            part: of all weights that are to become zeros.
            learns: the parameters that may change; None for all.

        Raises:
            InputError: convolutions, or layers that do not learn, hold too many of the weights.
        """
        layers = [layer for layer in self.layers if layer.prunable_elements]
        weights = [self.weight(layer) for layer in layers]
        may_go = sum(each.numel() for each in weights if learns is None or each in learns)
        most = may_go / sum(self.weight(layer).numel() for layer in self.layers)
        if most <= part:
            raise InputError(
                f"target_zeros is {part}, but only {most:.1%} of the weights are in linear layers "
                "that learn, which alone become sparse; want fewer zeros, or target_units"
            )

    def __str__(self) -> str:
        lines = [
            f"{units.name}: {units.size} {_NOUNS[units.kind]}, "
            f"{int(units.counts().sum()):,} weights in their groups"
            for units in self.units
        ]
        lines += [f"{name}: left as it is, {why}" for name, why in self.unsupported.items()]
        return "\n".join(lines)


def check_groups(groups: Any) -> None:
    """Raise InputError where something else was given as the groups of a model."""
    if not isinstance(groups, Groups):
        raise InputError(
            f"groups is a {type(groups).__name__}, wanted what find_groups(model, example) gives"
        )


_NOUNS = {HIDDEN: "units", INPUT: "inputs"}
