"""Lossless simplification: a smaller network that computes the same function.

Three reductions, each proven on the numbers at hand, none of which knows where a network comes
from: neurons with equal weights *and* biases, bit for bit, become one (``merge``); neurons whose
output cannot depend on the sample become a number, and neurons that no layer reads disappear
(``fold``). Weights that meet in a merged input add up; that changes sums by rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.kernels.rows import first_equal_rows
from espalier.network import Layer
from espalier.network.csr import CsrArrays
from espalier.simplify.equal_rows import merge_equal_rows, select_rows
from espalier.simplify.fold import (
    Expansion,
    drop_inputs,
    fold_inputs,
    inputs_read,
    outputs_without_inputs,
)
from espalier.simplify.invariants import never_positive


@dataclass
class Savings:
    """What the simplification found, added up over layers."""

    merged: int = 0
    inputs_merged: int = 0
    constant: int = 0
    unread: int = 0
    connections_before: int = 0
    connections_after: int = 0


@dataclass
class Simplifier:
    """Turns layers, fed in order, into simplified layers.

    After the last one, `expansion` tells how to get the network's outputs back.
    """

    merge: bool = True
    fold: bool = True
    savings: Savings = field(default_factory=Savings)
    expansion: Expansion | None = None
    nonnegative: bool = False  # all inputs of the next layer are at least 0

    def simplify(self, layers: Iterable[Layer]) -> Iterator[Layer]:
        """Simplified layers, one behind those fed: what a layer may drop, the next decides."""
        before: Layer | None = None
        for layer in layers:
            reduced, expansion = self._reduce_outputs(*self._fold_inputs(layer))
            if before is not None:
                before, reduced = self._drop_unread(before, reduced)
                yield self._count(before)
            elif self.merge:
                sums, reduced = self._merge_inputs(reduced)
                if sums is not None:
                    yield self._count(sums)
            self.savings.connections_before += layer.nonzeros
            self.expansion = expansion
            self.nonnegative = layer.activation == "relu"
            before = reduced
        if before is not None:
            yield self._count(before)

    def _merge_inputs(self, layer: Layer) -> tuple[Layer | None, Layer]:
        """Inputs that feed the same outputs with the same weights are added up first.

        The sums become a layer of their own, one connection per input, where that leaves fewer
        connections in all.
        """
        transposed = sp.csr_array(layer.weights.T)
        offsets = transposed.indptr.astype(np.int64)
        arrays = CsrArrays(
            offsets, transposed.indices.astype(np.int32), transposed.data, layer.outputs
        )
        by_input = Layer.from_checked(arrays, 0.0)
        distinct, unit = merge_equal_rows(by_input)
        if layer.inputs + distinct.nonzeros >= layer.nonzeros:
            return None, layer
        self.savings.inputs_merged += layer.inputs - distinct.outputs
        ones, every = np.ones(layer.inputs, np.float32), np.arange(layer.inputs)
        adds = sp.csr_array((ones, (unit, every)), shape=(distinct.outputs, layer.inputs))
        narrowed = sp.csr_array(distinct.weights.T)
        return (
            Layer(adds, bias=0.0, activation="identity"),
            Layer(narrowed, layer.bias, layer.activation, layer.clip),
        )

    def _count(self, layer: Layer) -> Layer:
        self.savings.connections_after += layer.nonzeros
        return layer

    def _fold_inputs(self, layer: Layer) -> tuple[Layer, NDArray[np.int32]]:
        """The layer over the units its inputs became, and which of its rows each output is.

        Equal rows are folded once.
        """
        every = np.arange(layer.outputs, dtype=np.int32)
        if self.expansion is None or self.expansion.is_identity:
            return layer, every
        first = first_equal_rows(layer) if self.merge else every
        kept = first == every
        row = np.cumsum(kept, dtype=np.int32) - np.int32(1)
        return fold_inputs(layer, self.expansion, every[kept]), row[first]

    def _reduce_outputs(self, layer: Layer, row: NDArray[np.int32]) -> tuple[Layer, Expansion]:
        """Merge equal rows and take constant ones out."""
        every = np.arange(layer.outputs, dtype=np.int32)
        first = first_equal_rows(layer) if self.merge else every
        constant = self._constant_rows(layer)
        if constant.all():
            constant[:1] = False  # a layer keeps at least one row
        kept = (first == every) & ~constant
        unit = np.where(constant, np.int32(-1), np.cumsum(kept, dtype=np.int32) - 1)[first][row]
        value = outputs_without_inputs(layer)  # 0 for a row that is never positive, too
        values = np.where(constant, value, np.float32(0.0))[first][row]
        self.savings.constant += int((unit < 0).sum())
        self.savings.merged += int((unit >= 0).sum()) - int(kept.sum())
        return select_rows(layer, kept), Expansion(unit.astype(np.int32), values.astype(np.float32))

    def _constant_rows(self, layer: Layer) -> NDArray[np.bool_]:
        if not self.fold:
            return np.zeros(layer.outputs, bool)
        empty = np.diff(layer.row_offsets) == 0
        if self.nonnegative:
            empty |= never_positive(layer)
        return np.asarray(empty)

    def _drop_unread(self, before: Layer, reader: Layer) -> tuple[Layer, Layer]:
        """Take out rows of a layer that no weight of the next one reads."""
        if not self.fold:
            return before, reader
        read = inputs_read(reader)
        if read.all():
            return before, reader
        read[:1] |= not read.any()
        self.savings.unread += int((~read).sum())
        return select_rows(before, read), drop_inputs(reader, read)
