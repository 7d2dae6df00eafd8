"""spmm: sparse weights times dense samples, bias, ReLU and clip fused."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.kernels.samples import check_samples, name_bad_sample, native_samples
from espalier.kernels.segment import BadSampleError, run_segment
from espalier.kernels.threads import thread_count
from espalier.network import Layer

PackedLayer = _native.PackedLayer
InputMajor = _native.InputMajor
DEFAULT_TILE = 32


class RowBlocks(NamedTuple):
    """Disjoint sets of rows, each stored as one dense block over the union of its columns.

    Block ``b`` has the rows ``rows[offsets[b]:offsets[b + 1]]``.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def none(cls) -> RowBlocks:
        return cls(np.zeros(1, np.int64), np.zeros(0, np.int32))

    @classmethod
    def one(cls, rows: int) -> RowBlocks:
        """All of `rows` rows in one block."""
        return cls(np.array([0, rows], np.int64), np.arange(rows, dtype=np.int32))


def pack(layer: Layer, blocks: RowBlocks | None = None) -> PackedLayer:
    """Pack a layer for the kernels.

    Arguments:
        blocks: rows to store densely, which pays where they share most of their columns. All
            other rows stay sparse.
    """
    blocks = blocks or RowBlocks.none()
    return _native.PackedLayer(
        *csr_arrays(layer),
        layer.bias,
        *layer.bounds,
        blocks.offsets,
        blocks.rows,
    )


def pack_by_input(layer: Layer) -> InputMajor:
    """The weights of a layer sorted by input, for samples that are sparse."""
    return _native.InputMajor(*csr_arrays(layer))


def csr_arrays(
    layer: Layer,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], int]:
    """Row offsets, column indices, values and input width, as native functions take them."""
    return (
        layer.row_offsets,
        np.ascontiguousarray(layer.column_indices),
        np.ascontiguousarray(layer.values),
        layer.inputs,
    )


def time_layer(layer: PackedLayer, tile: int, rounds: int) -> float:
    """Seconds of a packed layer over one panel of `tile` samples: the fastest of some rounds."""
    return float(_native.time_layer(layer, tile, rounds))


def spmm(
    layer: PackedLayer, x: Any, *, tile: int = DEFAULT_TILE, threads: int | None = None
) -> NDArray[np.float32]:
    """Run one packed layer over samples.

    Arguments:
        x: ``[samples, inputs]``, numpy or scipy sparse.
        tile: samples side by side in a panel: 16, 32 or 64.

    Returns:
        float32 ``[samples, outputs]``.

    Raises:
        InputError: samples that do not fit or are not finite, or an option out of range.

    >>> spmm(pack(Layer([[1.0, 2.0]], bias=-1.0)), [[1.0, 3.0], [0.0, 0.0]]).tolist()
    [[6.0], [0.0]]
    """
    matrix = check_samples(x, layer.inputs)
    samples = native_samples(matrix, None)
    try:
        segment = run_segment([layer], samples, tile=tile, threads=thread_count(threads))
    except BadSampleError:
        raise name_bad_sample(matrix) from None
    return segment.rows[segment.row_of]
