"""Masks that travel with tensors: a bit for each entry, set where it is not zero."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from espalier.kernels import count_nonzero, nonzero_mask
from espalier.nn.torch_tools import UNKNOWN, version_of

_ATTRIBUTE = "_espalier_mask"
_SAMPLED_ROWS = 256


class Mask:
    """The non-zero entries of a tensor, row by row of its innermost dimension in memory.

    Attributes:
        bits: uint64 ``[rows, ceil(channels / 64)]``, as the kernels take them. A bit may be set
            where the entry is zero; it is never clear where the entry is not.
        channels: entries of a row.
        memory, version: those of the tensor when the mask was attached.
    """

    __slots__ = ("_count", "bits", "channels", "memory", "version")

    def __init__(self, bits: NDArray[np.uint64], channels: int) -> None:
        self.bits = bits
        self.channels = channels
        self.memory = 0
        self.version = UNKNOWN
        self._count = -1

    @classmethod
    def of(cls, rows: NDArray[np.float32], threads: int) -> Mask:
        """Scan an array whose last dimension holds the channels."""
        return cls(nonzero_mask(rows, threads=threads), rows.shape[-1])

    @classmethod
    def from_tensor(cls, bits: torch.Tensor, channels: int) -> Mask:
        """The way back from `to_tensor`."""
        return cls(bits.contiguous().numpy().view(np.uint64), channels)

    def to_tensor(self) -> torch.Tensor:
        """The bits as int64 over the same memory, for autograd to keep and to free."""
        return torch.from_numpy(self.bits.view(np.int64))

    @property
    def density(self) -> float:
        """The share of bits that are set."""
        if self._count < 0:
            self._count = count_nonzero(self.bits)
        return self._count / max(len(self.bits) * self.channels, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copied or loaded tensor has a life of its own: it gets no mask, and a file of tensors
        # no type that torch.load would refuse.
        return OrderedDict, ()


def attach(tensor: torch.Tensor, mask: Mask) -> None:
    """Attach its mask to a tensor; it counts until the tensor is changed in place."""
    version = version_of(tensor)
    if version != UNKNOWN:
        mask.memory, mask.version = tensor.data_ptr(), version
        setattr(tensor, _ATTRIBUTE, mask)


def attached(tensor: torch.Tensor, channels: int) -> Mask | None:
    """The mask attached to a tensor, if it still describes it in rows of `channels` entries."""
    mask = getattr(tensor, _ATTRIBUTE, None)
    if type(mask) is not Mask or mask.channels != channels:
        return None
    if mask.version != version_of(tensor) or mask.memory != tensor.data_ptr():
        return None
    return mask if len(mask.bits) * channels == tensor.numel() else None


def sampled_density(rows: NDArray[np.float32]) -> float:
    """The share of non-zero entries in some rows spread over an array ``[..., channels]``."""
    flat = rows.reshape(-1, rows.shape[-1])
    # An odd step: a power of two would meet the same columns of every image.
    some = flat[:: len(flat) // _SAMPLED_ROWS | 1]
    return float(np.count_nonzero(some)) / max(some.size, 1)
