"""Rows that share their columns become dense blocks, where the cost model says that pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.inference.cost import BLOCK_HEIGHTS, TILES, Counts
from espalier.kernels.rows import first_equal_patterns
from espalier.kernels.spmm import RowBlocks
from espalier.network import Layer


class Cost(Protocol):
    """What `choose_row_blocks` asks of a cost model, of a CPU or a GPU."""

    def rows_seconds(self, nonzeros: Counts, width: int, tile: int) -> NDArray[np.float64]:
        """Per sample, for weights in rows of their own."""

    def block_seconds(
        self, heights: Counts, columns: Counts, width: int, tile: int
    ) -> NDArray[np.float64]:
        """Per sample, for blocks of `heights` rows that share `columns` columns."""


def seconds_by_tile(layers: Iterable[Layer], cost: Cost, group: bool) -> list[float]:
    """What some layers cost a sample, for each of `TILES`."""
    candidates = [(layer, _candidates(layer, group)) for layer in layers]
    return [sum(_choose(*each, cost, tile)[1] for each in candidates) for tile in TILES]


def choose_row_blocks(
    layer: Layer, cost: Cost, tile: int, group: bool = True
) -> tuple[RowBlocks, float]:
    """Sets of rows to multiply together, and the seconds per sample the layer then costs.

    Either the sets of rows with exactly equal columns, each of them only where a block is cheaper
    than its rows alone, or, in layers dense enough, all rows as one block over all columns.

    Arguments:
        group: whether there may be any.
    """
    return _choose(layer, _candidates(layer, group), cost, tile)


def _choose(
    layer: Layer, candidates: RowBlocks | None, cost: Cost, tile: int
) -> tuple[RowBlocks, float]:
    sparse = float(cost.rows_seconds(layer.nonzeros, layer.inputs, tile))
    if candidates is None:
        return RowBlocks.none(), sparse
    sizes = np.diff(candidates.offsets)
    columns = np.diff(layer.row_offsets)[candidates.rows[candidates.offsets[:-1]]]
    alone = cost.rows_seconds(sizes * columns, layer.inputs, tile)
    together = cost.block_seconds(sizes, columns, layer.inputs, tile)
    pays = together < alone
    seconds = sparse - float((alone - together)[pays].sum())
    dense = float(cost.block_seconds(layer.outputs, layer.inputs, layer.inputs, tile))
    if dense < seconds:
        return RowBlocks.one(layer.outputs), dense
    offsets = np.concatenate([[0], np.cumsum(sizes[pays])]).astype(np.int64)
    return RowBlocks(offsets, candidates.rows[np.repeat(pays, sizes)]), seconds


def _candidates(layer: Layer, group: bool) -> RowBlocks | None:
    """Sets of at least two rows, none of them empty, with the same columns."""
    if not (group and layer.outputs):
        return None
    first = first_equal_patterns(layer.row_offsets, layer.column_indices)
    order = np.argsort(first, kind="stable").astype(np.int32)
    sizes = np.bincount(first, minlength=layer.outputs)
    filled = np.diff(layer.row_offsets) > 0
    wanted = (sizes >= BLOCK_HEIGHTS[0]) & filled
    offsets = np.concatenate([[0], np.cumsum(sizes[wanted])]).astype(np.int64)
    return RowBlocks(offsets, order[wanted[first[order]]])
