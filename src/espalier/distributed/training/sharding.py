"""Which rows of the whole model a parameter here is, so that states outlive the partition.

States are written row by row under the rows' own numbers, each row as in the whole model; any
other partition of the same model finds its rows again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.network.csr import entries_of


@dataclass(frozen=True)
class Shard:
    """One parameter's rows.

    Attributes:
        rows: int64, their numbers in the whole model.
        counts: int64, numbers of each row.
        order: for each number here, its place when every row is as in the whole model; None where
            it is there already.
        by_column: whether the parameter is ``[numbers of a row, rows]``.
        replicated: whether every part holds all of it.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    order: NDArray[np.int64] | None = None
    by_column: bool = False
    replicated: bool = False

    @classmethod
    def everywhere(cls, size: int) -> Shard:
        """A parameter that is the same on every part."""
        return cls(np.arange(size), np.ones(size, np.int64), replicated=True)

    def pack(self, tensor: Tensor) -> Tensor:
        """The rows of a parameter, or of something of its shape, one behind the other.

        >>> shard = Shard(np.array([3]), np.array([2]), order=np.array([1, 0]))
        >>> shard.pack(torch.tensor([5.0, 6.0]))
        tensor([6., 5.])
        """
        flat = (tensor.t() if self.by_column else tensor).reshape(-1)
        if self.order is None:
            return flat.clone()
        whole = torch.empty_like(flat)
        whole[torch.from_numpy(self.order)] = flat
        return whole

    def unpack(self, packed: Tensor, like: Tensor) -> Tensor:
        """The reverse of `pack`."""
        flat = packed if self.order is None else packed[torch.from_numpy(self.order)]
        if self.by_column:
            return flat.view(like.shape[::-1]).t().contiguous()
        return flat.view(like.shape)

    def find(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where this shard's numbers lie among those of other rows; None where some are missing.

        Arguments:
            rows, counts: as here, of what was written, in the order it was written in.
        """
        sorter = np.argsort(rows, kind="stable")
        found = np.searchsorted(rows, self.rows, sorter=sorter)
        if len(self.rows) and (found.max() >= len(rows)):
            return None
        places = sorter[found]
        if not (
            np.array_equal(rows[places], self.rows) and np.array_equal(counts[places], self.counts)
        ):
            return None
        return entries_of(np.concatenate([[0], np.cumsum(counts)]), places)[1]
