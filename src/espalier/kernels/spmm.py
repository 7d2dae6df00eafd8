"""spmm: sparse weights times dense samples, bias, ReLU and clip fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError
from espalier.network import Layer

PackedLayer = _native.PackedLayer
DEFAULT_TILE = 32


def pack(layer: Layer, groups: Sequence[NDArray[np.int32]] = ()) -> PackedLayer:
    """Pack a layer for the kernels.

    Arguments:
        groups: disjoint sets of rows to store as dense blocks over the union of their columns;
            pays where rows share most of their columns. All other rows stay sparse.
    """
    lower = 0.0 if layer.activation == "relu" else -np.inf
    upper = np.inf if layer.clip is None else layer.clip
    sizes = np.cumsum([0, *(len(group) for group in groups)], dtype=np.int64)
    rows = np.concatenate([np.empty(0, np.int32), *groups]).astype(np.int32)
    return _native.PackedLayer(
        layer.row_offsets,
        np.ascontiguousarray(layer.column_indices),
        np.ascontiguousarray(layer.values),
        layer.inputs,
        layer.bias,
        lower,
        upper,
        sizes,
        rows,
    )


def spmm(
    layer: PackedLayer, x: Any, *, tile: int = DEFAULT_TILE, threads: int | None = None
) -> NDArray[np.float32]:
    """Run one packed layer over samples.

    Arguments:
        x: float32 ``[samples, inputs]``.
        tile: samples side by side in a panel: 16, 32 or 64.

    Returns:
        float32 ``[samples, outputs]``.

    >>> spmm(pack(Layer([[1.0, 2.0]], bias=-1.0)), [[1.0, 3.0], [0.0, 0.0]]).tolist()
    [[6.0], [0.0]]
    """
    matrix = np.ascontiguousarray(x, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != layer.inputs:
        raise InputError(f"x has shape {matrix.shape}, wanted [samples, {layer.inputs}]")
    count = len(matrix)
    result = np.empty((count, layer.outputs), np.float32)
    row_of = np.empty(count, np.int64)
    alive = np.empty(count, np.uint8)
    tally = np.zeros((2, 1), np.int64)
    status = _native.run_segment(
        [layer],
        None,
        _native.dense_samples(matrix, None),
        np.zeros(1, np.uint8),
        tile,
        1,
        threads or 0,
        result,
        row_of,
        alive,
        tally[0],
        tally[1],
        None,
    )
    if status:
        raise InputError("x holds a value that is not finite")
    return result
