"""Buffers for activations and gradients that are used again: every step takes the same.

Pages stay mapped and requests stay valid. Memory comes back when the last tensor on it is gone.
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


class BufferPool:
    """Gives arrays ``[1, neurons, batch]`` out as tensors ``[batch, neurons]``.

    >>> pool = BufferPool()
    >>> tensor = pool.allocate(batch=4, neurons=3, used=2)
    >>> tensor.shape, tensor.stride(), pool.panels(tensor, 3).shape
    (torch.Size([4, 2]), (1, 4), (1, 3, 4))
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.float32]]] = {}
        self._by_address: dict[int, NDArray[np.float32]] = {}

    def allocate(self, batch: int, neurons: int, used: int) -> Tensor:
        """A tensor ``[batch, used]``, samples side by side, with room for more neurons behind."""
        size = -(-max(batch * neurons, 1) // _WIDTH) * _WIDTH
        free = self._free.setdefault(size, [])
        if free:
            memory = free.pop()
        else:
            memory = empty_panels(1, 1, size).reshape(-1)
            self._by_address[_address(memory)] = memory
        # PyTorch holds this very object for as long as any tensor lies on it.
        view = memory[:]
        weakref.finalize(view, free.append, memory)
        # Not a view, which an operation in place might not overwrite.
        tensor = torch.empty(0)
        return tensor.set_(torch.from_numpy(view).untyped_storage(), 0, (batch, used), (1, batch))

    def panels(self, tensor: Tensor, neurons: int) -> Panels | None:
        """The array that a tensor of the pool is the front of; None without one, or such room.

        Arguments:
            tensor: ``[batch, used]``.
            neurons: wanted, at least ``used``.
        """
        # Of its storage: an empty tensor has no address of its own.
        memory = self._by_address.get(tensor.untyped_storage().data_ptr())
        batch, used = tensor.shape
        fits = tensor.stride(0) == 1 and (used < 2 or tensor.stride(1) == batch)
        if memory is None or not fits or tensor.storage_offset() or batch * neurons > len(memory):
            return None
        return memory[: batch * neurons].reshape(1, neurons, batch)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
