"""A part's rows of one layer, renumbered to what the part sees of the neurons before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Places, find_takes
from espalier.distributed.comm.index_map import IndexMap
from espalier.network import Layer
from espalier.simplify.equal_rows import merge_equal_rows
from espalier.simplify.fold import Expansion, fold_inputs


@dataclass(frozen=True)
class LocalLayer:
    """One part of one layer.

    Attributes:
        layer: the part's rows over the neurons it sees, its own and those it receives.
        takes: what it receives, see `Exchange`.
        units: int32 ``[rows of the part]``, the row of ``layer`` that computes each of them.
    """

    layer: Layer
    takes: tuple[Places, ...]
    units: NDArray[np.int32]


def local_layer(rows: Layer, index_map: IndexMap, part: int, *, merge: bool) -> LocalLayer:
    """Renumber the rows of a part.

    Arguments:
        rows: the part's rows ``[rows, inputs of the layer]``.
        index_map: of the neurons the layer reads.
        merge: whether rows of equal weights and biases, bit for bit, become one.

    Raises:
        NetworkError: weights that meet in a merged neuron add up beyond float32.
    """
    index, takes = find_takes(rows.column_indices, index_map, part)
    seen = int(index_map.counts[part]) + sum(map(len, takes))
    layer = fold_inputs(rows, Expansion.of_units(index), width=seen)
    if merge:
        layer, units = merge_equal_rows(layer)
        return LocalLayer(layer, takes, units)
    return LocalLayer(layer, takes, np.arange(rows.outputs, dtype=np.int32))
