"""Layers in the forms that the GPU's kernels read: rows, blocks of rows, slices of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.kernels import RowBlocks
from espalier.network import Layer
from espalier.network.csr import entries_of

ENTRY = np.dtype([("column", np.int32), ("weight", np.float32)])
BLOCK_ROWS = 16
SLICE_ROWS = 32


class PackedRows(NamedTuple):
    """Rows with columns of their own."""

    offsets: NDArray[np.int64]  # [rows + 1]
    entries: NDArray[np.void]  # ENTRY, [entries]
    rows: NDArray[np.int32]  # which output each is


class PackedBlocks(NamedTuple):
    """Up to 16 rows that share columns, each."""

    offsets: NDArray[np.int64]  # [blocks + 1]
    columns: NDArray[np.int32]  # [columns of all blocks]
    weights: NDArray[np.float32]  # [columns of all blocks, 16]
    rows: NDArray[np.int32]  # [blocks, 16], -1 for none


class PackedSlices(NamedTuple):
    """All rows, 32 side by side; shorter ones are filled up with weights of 0."""

    offsets: NDArray[np.int64]  # [slices + 1], in steps of 32 entries
    entries: NDArray[np.void]  # ENTRY, [steps, 32]


def pack_rows(layer: Layer, rows: NDArray[np.int32]) -> PackedRows:
    """These rows of a layer, in this order.

    >>> packed = pack_rows(Layer([[1.0, 2.0], [0.0, 3.0]], bias=0.0), np.array([1], np.int32))
    >>> packed.entries.tolist(), packed.offsets.tolist()
    ([(1, 3.0)], [0, 1])
    """
    offsets, entries = entries_of(layer.row_offsets, rows)
    return PackedRows(offsets, _entries(layer, entries), rows)


def pack_blocks(layer: Layer, row_blocks: RowBlocks) -> PackedBlocks:
    """Sets of rows as blocks: rows of a set have the same columns, or one set takes all rows.

    >>> layer = Layer([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]], bias=0.0)
    >>> packed = pack_blocks(layer, RowBlocks.one(2))
    >>> packed.columns.tolist(), packed.weights[:, :2].tolist()
    ([0, 2], [[1.0, 3.0], [2.0, 4.0]])
    """
    rows = _blocks_of(row_blocks)
    if not _share_columns(layer, row_blocks):
        return _pack_dense(layer, rows)
    first = rows[:, 0]
    counts = np.diff(layer.row_offsets)[first]
    offsets = _offsets(counts)
    block = np.repeat(np.arange(len(rows)), counts)
    position = np.arange(offsets[-1]) - offsets[block]
    columns = layer.column_indices[layer.row_offsets[first[block]] + position]
    of_rows = rows[block]
    place = layer.row_offsets[np.maximum(of_rows, 0)] + position[:, None]
    weights = np.where(of_rows >= 0, layer.values[place], np.float32(0.0))
    return PackedBlocks(offsets, columns, weights.astype(np.float32), rows)


def pack_slices(layer: Layer) -> PackedSlices:
    """All rows of a layer in slices.

    >>> packed = pack_slices(Layer([[1.0, 2.0], [0.0, 3.0]], bias=0.0))
    >>> packed.entries["weight"][:, :3].tolist()
    [[1.0, 3.0, 0.0], [2.0, 0.0, 0.0]]
    """
    counts = np.diff(layer.row_offsets)
    slices = -(-layer.outputs // SLICE_ROWS)
    longest = np.zeros(slices * SLICE_ROWS, np.int64)
    longest[: layer.outputs] = counts
    offsets = _offsets(longest.reshape(slices, SLICE_ROWS).max(axis=1, initial=0))
    entries = np.zeros((offsets[-1], SLICE_ROWS), ENTRY)
    row = np.repeat(np.arange(layer.outputs), counts)
    step = np.arange(layer.nonzeros) - layer.row_offsets[row] + offsets[row // SLICE_ROWS]
    entries[step, row % SLICE_ROWS] = _entries(layer, np.arange(layer.nonzeros))
    return PackedSlices(offsets, entries)


def rows_alone(layer: Layer, row_blocks: RowBlocks) -> NDArray[np.int32]:
    """The rows that no set takes."""
    alone = np.ones(layer.outputs, bool)
    alone[row_blocks.rows] = False
    return np.flatnonzero(alone).astype(np.int32)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _entries(layer: Layer, place: NDArray[np.int64]) -> NDArray[np.void]:
    entries = np.empty(len(place), ENTRY)
    entries["column"] = layer.column_indices[place]
    entries["weight"] = layer.values[place]
    return entries


def _blocks_of(row_blocks: RowBlocks) -> NDArray[np.int32]:
    """Sets cut into blocks ``[blocks, 16]``, the last one of a set filled up with -1."""
    sizes = np.diff(row_blocks.offsets)
    blocks = -(-sizes // BLOCK_ROWS)
    first_block = _offsets(blocks)
    of_set = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(len(row_blocks.rows)) - row_blocks.offsets[of_set]
    rows = np.full((int(first_block[-1]), BLOCK_ROWS), -1, np.int32)
    rows[first_block[of_set] + position // BLOCK_ROWS, position % BLOCK_ROWS] = row_blocks.rows
    return rows


def _share_columns(layer: Layer, row_blocks: RowBlocks) -> bool:
    """Whether the rows of every set have the same columns; only a set of all rows may not."""
    if len(row_blocks.offsets) != 2 or len(row_blocks.rows) != layer.outputs:
        return True
    counts = np.diff(layer.row_offsets)
    if (counts != counts[:1]).any():
        return False
    columns = layer.column_indices.reshape(layer.outputs, -1)
    return bool((columns == columns[:1]).all())


def _pack_dense(layer: Layer, rows: NDArray[np.int32]) -> PackedBlocks:
    """Blocks over all columns, zeros among them."""
    dense = np.zeros((len(rows) * BLOCK_ROWS, layer.inputs), np.float32)
    taken = rows.ravel() >= 0
    dense[taken] = layer.weights[rows.ravel()[taken]].toarray()
    weights = dense.reshape(len(rows), BLOCK_ROWS, layer.inputs).transpose(0, 2, 1)
    columns = np.tile(np.arange(layer.inputs, dtype=np.int32), len(rows))
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * layer.inputs
    packed = np.ascontiguousarray(weights).reshape(-1, BLOCK_ROWS)
    return PackedBlocks(offsets, columns, packed, rows)
