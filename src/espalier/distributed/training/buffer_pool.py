"""Memory for activations and gradients that is used again: a training takes the same every step.

Pages stay mapped and requests stay valid. Memory comes back when the last tensor on it is gone,
whoever held it.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.kernels.panels import Panels, empty_panels

_WIDTH = 16  # floats of a cache line; sizes are rounded up to it


class Arena:
    """Lends arrays ``[1, neurons, batch]`` as tensors ``[batch, neurons]``.

    >>> arena = Arena()
    >>> tensor = arena.lend(batch=4, neurons=3, used=2)
    >>> tensor.shape, tensor.stride(), arena.panels(tensor, 3).shape
    (torch.Size([4, 2]), (1, 4), (1, 3, 4))
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.float32]]] = {}
        self._by_address: dict[int, NDArray[np.float32]] = {}

    def lend(self, batch: int, neurons: int, used: int) -> Tensor:
        """A tensor ``[batch, used]``, samples side by side, with room for more neurons behind."""
        size = -(-max(batch * neurons, 1) // _WIDTH) * _WIDTH
        waiting = self._free.setdefault(size, [])
        if waiting:
            memory = waiting.pop()
        else:
            memory = empty_panels(1, 1, size).reshape(-1)
            self._by_address[_address(memory)] = memory
        # PyTorch holds this very object for as long as any tensor lies on it.
        lent = memory[:]
        weakref.finalize(lent, waiting.append, memory)
        # Not a view, which an operation in place might not overwrite.
        tensor = torch.empty(0)
        return tensor.set_(torch.from_numpy(lent).untyped_storage(), 0, (batch, used), (1, batch))

    def panels(self, tensor: Tensor, neurons: int) -> Panels | None:
        """The array that a lent tensor is the front of; None if it is not, or has no such room.

        Arguments:
            tensor: ``[batch, used]``.
            neurons: wanted, at least ``used``.
        """
        # Of its storage: an empty tensor has no address of its own.
        memory = self._by_address.get(tensor.untyped_storage().data_ptr())
        batch, used = tensor.shape
        lies_so = tensor.stride(0) == 1 and (used < 2 or tensor.stride(1) == batch)
        if (
            memory is None
            or not lies_so
            or tensor.storage_offset()
            or batch * neurons > len(memory)
        ):
            return None
        return memory[: batch * neurons].reshape(1, neurons, batch)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
