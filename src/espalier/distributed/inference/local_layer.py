"""A part's rows of one layer, renumbered to what the part sees of the neurons before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Places, find_takes
from espalier.distributed.comm.index_map import Placement
from espalier.network import Layer
from espalier.simplify.equal_rows import merge_equal_rows
from espalier.simplify.fold import Expansion, fold_inputs


@dataclass(frozen=True)
class Cut:
    """One part of one layer.

    Attributes:
        layer: the part's rows over the neurons it sees, its own and those it receives.
        takes: what it receives, see `Exchange`.
        units: int32 ``[rows of the part]``, the row of ``layer`` that computes each of them.
    """

    layer: Layer
    takes: tuple[Places, ...]
    units: NDArray[np.int32]


def cut(rows: Layer, placement: Placement, part: int, *, merge: bool) -> Cut:
    """Renumber the rows of a part.

    Arguments:
        rows: the part's rows ``[rows, inputs of the layer]``.
        placement: of the neurons the layer reads.
        merge: whether rows of equal weights and biases, bit for bit, become one.

    Raises:
        NetworkError: weights that meet in a merged neuron add up beyond float32.
    """
    index, takes = find_takes(rows.column_indices, placement, part)
    seen = int(placement.counts[part]) + sum(map(len, takes))
    layer = fold_inputs(rows, Expansion.of_units(index), width=seen)
    if merge:
        layer, units = merge_equal_rows(layer)
        return Cut(layer, takes, units)
    return Cut(layer, takes, np.arange(rows.outputs, dtype=np.int32))
