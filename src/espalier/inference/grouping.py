"""Rows that share their columns become dense blocks, where the cost model says that pays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.inference.cost import BLOCK_HEIGHTS, CostModel
from espalier.network import Layer


def find_groups(layer: Layer, cost: CostModel, tile: int) -> list[NDArray[np.int32]]:
    """Sets of rows to multiply together, cheapest by the cost model.

    Either the sets of rows with exactly equal columns, each of them only where a block is cheaper
    than its rows alone, or, in layers dense enough, all rows as one block over all columns.
    """
    sparse = cost.rows_seconds(layer.nonzeros, layer.inputs, tile)
    groups = [
        rows
        for rows in _rows_of_equal_columns(layer)
        if _block_seconds(layer, rows, cost, tile) < _rows_seconds(layer, rows, cost, tile)
    ]
    saved = sum(
        _rows_seconds(layer, rows, cost, tile) - _block_seconds(layer, rows, cost, tile)
        for rows in groups
    )
    dense = cost.block_seconds(layer.outputs, layer.inputs, layer.inputs, tile)
    if dense < sparse - saved:
        return [np.arange(layer.outputs, dtype=np.int32)]
    return groups


def _rows_of_equal_columns(layer: Layer) -> list[NDArray[np.int32]]:
    """Sets of at least two rows, none of them empty, with the same columns."""
    first = np.asarray(
        _native.first_equal_rows(
            layer.row_offsets,
            np.ascontiguousarray(layer.column_indices),
            np.ascontiguousarray(layer.values),
            layer.inputs,
            None,
        )
    )
    order = np.argsort(first, kind="stable").astype(np.int32)
    starts = np.flatnonzero(np.diff(first[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    filled = np.diff(layer.row_offsets)[order[starts]] > 0 if len(starts) else np.zeros(0, bool)
    chosen = (sizes >= BLOCK_HEIGHTS[0]) & filled
    return [
        order[start : start + size]
        for start, size in zip(starts[chosen], sizes[chosen], strict=True)
    ]


def _columns_of(layer: Layer, rows: NDArray[np.int32]) -> int:
    offsets = layer.weights.indptr
    return int(offsets[rows[0] + 1] - offsets[rows[0]])


def _block_seconds(layer: Layer, rows: NDArray[np.int32], cost: CostModel, tile: int) -> float:
    return cost.block_seconds(len(rows), _columns_of(layer, rows), layer.inputs, tile)


def _rows_seconds(layer: Layer, rows: NDArray[np.int32], cost: CostModel, tile: int) -> float:
    return cost.rows_seconds(len(rows) * _columns_of(layer, rows), layer.inputs, tile)
