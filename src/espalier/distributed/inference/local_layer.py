"""A part's rows of one layer, renumbered to what the part sees of the neurons before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Places, find_takes
from espalier.distributed.comm.index_map import Placement
from espalier.errors import NetworkError
from espalier.kernels.rows import fold_columns
from espalier.network import Layer
from espalier.simplify.decompose import equal_rows


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
    every = np.arange(rows.outputs, dtype=np.int32)
    offsets, columns, values, bias = fold_columns(
        rows, every, index, np.zeros(rows.inputs, np.float32)
    )
    if not np.isfinite(values).all():
        raise NetworkError(
            "weights of equal neurons add up beyond what float32 holds; scale them down, or give "
            "merge=False"
        )
    layer = Layer.from_csr(offsets, columns, values, seen, bias, rows.activation, rows.clip)
    if not merge:
        return Cut(layer, takes, every)
    first = equal_rows(layer)
    kept = first == every
    units = (np.cumsum(kept, dtype=np.int32) - 1).astype(np.int32)[first]
    if kept.all():
        return Cut(layer, takes, units)
    return Cut(layer.select_rows(np.flatnonzero(kept)), takes, units)
