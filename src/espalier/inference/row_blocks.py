"""Rows that share their columns become dense blocks, where the cost model says that pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.inference.cost import BLOCK_HEIGHTS, TILES, Counts
from espalier.kernels.rows import first_equal_rows
from espalier.kernels.spmm import Groups
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
    held = list(layers)
    return [sum(choose_row_blocks(layer, cost, t, group)[1] for layer in held) for t in TILES]


def choose_row_blocks(
    layer: Layer, cost: Cost, tile: int, group: bool = True
) -> tuple[Groups, float]:
    """Sets of rows to multiply together, and the seconds per sample the layer then costs.

    Either the sets of rows with exactly equal columns, each of them only where a block is cheaper
    than its rows alone, or, in layers dense enough, all rows as one block over all columns.

    Arguments:
        group: whether there may be any.
    """
    if not (group and layer.outputs):
        return Groups.none(), float(cost.rows_seconds(layer.nonzeros, layer.inputs, tile))
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
        return Groups.one(layer.outputs), dense
    kept = np.repeat(pays, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes[pays])]).astype(np.int64)
    return Groups(offsets, groups.rows[kept]), seconds


def _rows_of_equal_columns(
    layer: Layer,
) -> tuple[Groups, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Sets of at least two rows, none of them empty, with the same columns; and their sizes."""
    first = first_equal_rows(layer)
    order = np.argsort(first, kind="stable").astype(np.int32)
    sizes = np.bincount(first, minlength=layer.outputs)
    filled = np.diff(layer.row_offsets) > 0
    wanted = (sizes >= BLOCK_HEIGHTS[0]) & filled
    rows = order[wanted[first[order]]]
    sizes = sizes[wanted]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Groups(offsets, rows), sizes
