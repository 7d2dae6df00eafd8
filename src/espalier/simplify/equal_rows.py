"""Rows of equal weights and bias, bit for bit, which compute the same and become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.kernels.rows import first_equal_rows
from espalier.network import Layer


def merge_equal_rows(layer: Layer) -> tuple[Layer, NDArray[np.int32]]:
    """The layer with each of its distinct rows once, and which of them each row became.

    >>> merged, row = merge_equal_rows(Layer([[1.0], [3.0], [1.0]], bias=0.5))
    >>> merged.values.tolist(), row.tolist()
    ([1.0, 3.0], [0, 1, 0])
    """
    first = first_equal_rows(layer)
    kept = first == np.arange(layer.outputs)
    row = (np.cumsum(kept, dtype=np.int32) - 1).astype(np.int32)[first]
    return select_rows(layer, kept), row


def select_rows(layer: Layer, kept: NDArray[np.bool_]) -> Layer:
    """Some rows of a layer; the layer itself where that is all of them."""
    return layer if kept.all() else layer.select_rows(np.flatnonzero(kept))
