"""What can be known of a tensor's channels before any sample is seen, and how functions hand it on.

Two facts are kept of each channel: whether it depends on the sample, and which other channel it
always equals. This is constant propagation and value numbering, one channel at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.fssl.groups.modules import kernel_area
from espalier.fssl.groups.torch_functions import flattened
from espalier.kernels.rows import first_equal_rows
from espalier.network import read_layer
from espalier.simplify.fold import Expansion, fold_inputs

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

    @classmethod
    def independent(cls, axis: int, width: int) -> Channels:
        """No channel depends on the sample."""
        return cls(axis, np.full(width, INDEPENDENT, np.int32))

    def distinct(self) -> Channels:
        """The same, but channels that depend on the sample are no longer known to be equal."""
        every = np.arange(len(self.same), dtype=np.int32)
        return Channels(self.axis, np.where(self.same < 0, self.same, every))


def read_constants(module: Any, x: Tensor, channels: Channels) -> Expansion:
    """What each input feature of a layer is: another one, itself, or a constant with its value.

    A feature is a constant if it does not depend on the sample and has one value at all positions,
    which the run has shown. Into a padded convolution only 0 passes: the border would see the
    padding instead.
    """
    rows = x.detach().movedim(channels.axis, 0).reshape(len(channels.same), -1)
    value = _numbers(rows[:, 0])
    constant = (channels.same < 0) & (rows == rows[:, :1]).all(1).numpy() & np.isfinite(value)
    if isinstance(module, nn.Conv2d) and _pads(module):
        constant &= value == 0.0
    unit = np.where(channels.same < 0, np.arange(len(value)), channels.same)
    return Expansion(
        np.where(constant, INDEPENDENT, unit).astype(np.int32),
        np.where(constant, value, np.float32(0.0)),
    )


def behind_layer(module: Any, channels: Channels, constants: Expansion) -> NDArray[np.int32]:
    """A layer's units: independent where all weights meet independent features; equal where the
    weights and biases are, once constants and equal features are folded."""
    if getattr(module, "groups", 1) != 1:
        return Channels.unknown(channels.axis, module.out_channels).same
    layer = read_layer(module)
    dependent = np.repeat(channels.same >= 0, kernel_area(module))[layer.column_indices]
    rows = np.repeat(np.arange(layer.outputs), np.diff(layer.row_offsets))
    depends = np.bincount(rows, dependent, minlength=layer.outputs) > 0
    equal = first_equal_rows(fold_inputs(layer, widened(constants, kernel_area(module))))
    return np.where(depends, equal, np.int32(INDEPENDENT))


def behind_norm(norm: Any, channels: Channels) -> Channels:
    """A batch norm maps each channel by itself; a scale of 0 leaves a constant."""
    columns = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    keys = [channels.same, *(_numbers(each) for each in columns if each is not None)]
    same = np.where(channels.same < 0, np.int32(INDEPENDENT), first_equal(np.stack(keys, axis=1)))
    if norm.weight is not None:
        same[_numbers(norm.weight) == 0.0] = INDEPENDENT
    return Channels(channels.axis, same)


def behind_arithmetic(
    operands: Sequence[tuple[Tensor, Channels]], fixed: Sequence[Tensor], result: Tensor
) -> Channels | None:
    """An addition or product: independent or equal where all its operands are.

    Arguments:
        operands: tensors that depend on the sample, and what is known of them.
        fixed: tensors that do not.
    """
    axes = {(channels.axis - x.dim(), len(channels.same)) for x, channels in operands}
    if len(axes) != 1:
        return None
    ((from_end, width),) = axes
    if result.shape[from_end] != width:
        return None
    same = np.stack([channels.same for _, channels in operands], axis=1)
    independent = (same < 0).all(axis=1)
    first = np.where(independent, np.int32(INDEPENDENT), first_equal(same))
    together = Channels(result.dim() + from_end, first)
    by_channel = any(x.dim() >= -from_end and x.shape[from_end] > 1 for x in fixed)
    mixed = (same < 0).any(axis=1) & ~independent
    return together.distinct() if by_channel or mixed.any() else together


def behind_reshape(channels: Channels, source: Tensor, result: Tensor) -> Channels | None:
    """Behind a flatten, each channel is as many features as it had positions."""
    if source.shape == result.shape:
        return channels
    positions = flattened(channels.axis, source.shape, result.shape)
    if positions is None:
        return None
    return Channels(channels.axis, widened_units(channels.same, positions))


def behind_average(
    name: str, channels: Channels, source: Tensor, result: Tensor
) -> Channels | None:
    """Behind a mean or sum over all that is behind the channels."""
    behind = list(range(channels.axis + 1, source.dim()))
    if not behind or result.dim() <= channels.axis:
        return None
    wanted = getattr(source, name)(behind, keepdim=result.dim() == source.dim())
    return channels if torch.equal(wanted, result) else None


def first_equal(keys: NDArray[Any]) -> NDArray[np.int32]:
    """For each row, the first row that equals it.

    >>> first_equal(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1, 0]
    """
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first[inverse.ravel()].astype(np.int32)


def widened_units(unit: NDArray[np.int32], repeat: int) -> NDArray[np.int32]:
    """Units as so many features each, position by position; -1 stays -1.

    >>> widened_units(np.array([0, -1, 0], np.int32), 2).tolist()
    [0, 1, -1, -1, 0, 1]
    """
    wide = np.repeat(unit, repeat)
    position = np.tile(np.arange(repeat, dtype=np.int32), len(unit))
    return np.where(wide < 0, wide, wide * np.int32(repeat) + position)


def widened(expansion: Expansion, repeat: int) -> Expansion:
    """Each entry as so many features: from channels to the columns of their weights."""
    unit = widened_units(expansion.unit, repeat)
    return Expansion(unit, np.repeat(expansion.constant, repeat))


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    """A float32 tensor as numpy."""
    return tensor.detach().to(torch.float32).numpy()


def _pads(conv: nn.Conv2d) -> bool:
    return conv.padding == "same" or (conv.padding != "valid" and any(conv.padding))
