"""Rows that share their columns become dense blocks, where the cost model says that pays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.inference.cost import BLOCK_HEIGHTS, Counts
from espalier.kernels.rows import first_equal_patterns
from espalier.kernels.spmm import RowBlocks
from espalier.network import Layer


class Cost(Protocol):
    """What `choose_groups` asks of a cost model, of a CPU or a GPU."""

    def rows_seconds(self, nonzeros: Counts, width: int, tile: int) -> NDArray[np.float64]:
        """Per sample, for weights in rows of their own."""

    def block_seconds(
        self, heights: Counts, columns: Counts, width: int, tile: int
    ) -> NDArray[np.float64]:
        """Per sample, for blocks of `heights` rows that share `columns` columns."""


def choose_groups(layer: Layer, cost: Cost, tile: int) -> tuple[RowBlocks, float]:
    """Sets of rows to multiply together, and the seconds per sample the layer then costs.

    Either the sets of rows with exactly equal columns, each of them only where a block is cheaper
    than its rows alone, or, in layers dense enough, all rows as one block over all columns.
    """
    groups, sizes = _rows_of_equal_columns(layer)
    nonzeros = np.diff(layer.row_offsets)
    first = groups.rows[groups.offsets[:-1]]
    alone = cost.rows_seconds(sizes * nonzeros[first], layer.inputs, tile)
    together = cost.block_seconds(sizes, nonzeros[first], layer.inputs, tile)
    pays = together < alone

    sparse = float(cost.rows_seconds(layer.nonzeros, layer.inputs, tile))
    seconds = sparse - float((alone - together)[pays].sum())
    dense = float(cost.block_seconds(layer.outputs, layer.inputs, layer.inputs, tile))
    if dense < seconds:
        return RowBlocks.one(layer.outputs), dense
    kept = np.repeat(pays, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes[pays])]).astype(np.int64)
    return RowBlocks(offsets, groups.rows[kept]), seconds


def _rows_of_equal_columns(
    layer: Layer,
) -> tuple[RowBlocks, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Sets of at least two rows, none of them empty, with the same columns; and their sizes."""
    first = first_equal_patterns(layer.row_offsets, layer.column_indices)
    order = np.argsort(first, kind="stable").astype(np.int32)
    sizes = np.bincount(first, minlength=layer.outputs)
    filled = np.diff(layer.row_offsets) > 0
    wanted = (sizes >= BLOCK_HEIGHTS[0]) & filled
    rows = order[wanted[first[order]]]
    sizes = sizes[wanted]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return RowBlocks(offsets, rows), sizes
