"""Lossless decomposition: a smaller network that computes the same function.

Three reductions, each proven on the numbers at hand, none of which knows where a network comes
from: neurons with equal weights *and* biases, bit for bit, become one (``merge``); neurons whose
output cannot depend on the sample become a number, and neurons nobody reads disappear (``fold``).
Weights that meet in a merged input add up; that changes sums by rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import NetworkError
from espalier.kernels.rows import first_equal_rows, fold_columns
from espalier.network import Layer
from espalier.simplify.invariants import never_positive


@dataclass
class Savings:
    """What the decomposition found, added up over layers."""

    merged: int = 0
    inputs_merged: int = 0
    constant: int = 0
    unread: int = 0
    connections_before: int = 0
    connections_after: int = 0


@dataclass(frozen=True)
class Expansion:
    """How the outputs of a network come back from those of its decomposition.

    Attributes:
        unit: int32 ``[outputs]``, the unit that computes each output, -1 for a constant one.
        constant: float32 ``[outputs]``, the value of each constant output.
    """

    unit: NDArray[np.int32]
    constant: NDArray[np.float32]

    @classmethod
    def identity(cls, width: int) -> Expansion:
        return cls(np.arange(width, dtype=np.int32), np.zeros(width, np.float32))

    @property
    def is_identity(self) -> bool:
        return np.array_equal(self.unit, np.arange(len(self.unit)))


@dataclass
class Decomposition:
    """Turns layers, fed in order, into reduced layers.

    After the last one, `expansion` tells how to get the network's outputs back.
    """

    merge: bool = True
    fold: bool = True
    savings: Savings = field(default_factory=Savings)
    expansion: Expansion | None = None
    nonnegative: bool = False  # all inputs of the next layer are at least 0

    def reduce(self, layers: Iterable[Layer]) -> Iterator[Layer]:
        """Reduced layers, one behind the layers fed: what a layer may drop, the next decides."""
        waiting: Layer | None = None
        for layer in layers:
            reduced, expansion = self._reduce_outputs(*self._fold_inputs(layer))
            if waiting is not None:
                waiting, reduced = self._drop_unread(waiting, reduced)
                yield self._count(waiting)
            elif self.merge:
                sums, reduced = self._merge_inputs(reduced)
                if sums is not None:
                    yield self._count(sums)
            self.savings.connections_before += layer.nonzeros
            self.expansion = expansion
            self.nonnegative = layer.activation == "relu"
            waiting = reduced
        if waiting is not None:
            yield self._count(waiting)

    def _merge_inputs(self, layer: Layer) -> tuple[Layer | None, Layer]:
        """Inputs that feed the same outputs with the same weights are added up first.

        The sums become a layer of their own, one connection per input, where that leaves fewer
        connections in all.
        """
        columns = sp.csr_array(layer.weights.T)
        first = equal_rows(Layer(columns, bias=0.0))
        kept = first == np.arange(layer.inputs)
        counts = np.diff(columns.indptr)
        if layer.inputs + int(counts[kept].sum()) >= layer.nonzeros:
            return None, layer
        place = np.cumsum(kept) - 1
        ones = np.ones(layer.inputs, np.float32)
        every = np.arange(layer.inputs)
        adds = sp.csr_array((ones, (place[first], every)), shape=(int(kept.sum()), layer.inputs))
        self.savings.inputs_merged += layer.inputs - int(kept.sum())
        merged = sp.csr_array(columns[kept].T)
        narrowed = Layer(merged, layer.bias, layer.activation, layer.clip)
        return Layer(adds, bias=0.0, activation="identity"), narrowed

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
        first = equal_rows(layer) if self.merge else every
        kept = np.flatnonzero(first == every).astype(np.int32)
        row = np.zeros(layer.outputs, np.int32)
        row[kept] = np.arange(len(kept), dtype=np.int32)
        return fold_inputs(layer, self.expansion, kept), row[first]

    def _reduce_outputs(self, layer: Layer, row: NDArray[np.int32]) -> tuple[Layer, Expansion]:
        """Merge equal rows and take constant ones out."""
        every = np.arange(layer.outputs, dtype=np.int32)
        first = equal_rows(layer) if self.merge else every
        constant = self._constant_rows(layer)
        if constant.all():
            constant[:1] = False  # a layer keeps at least one row
        kept = (first == every) & ~constant
        unit = np.where(constant, np.int32(-1), np.cumsum(kept, dtype=np.int32) - 1)[first][row]
        values = np.where(constant, _constant_outputs(layer), np.float32(0.0))[first][row]
        self.savings.constant += int((unit < 0).sum())
        self.savings.merged += int((unit >= 0).sum()) - int(kept.sum())
        return _select(layer, kept), Expansion(unit.astype(np.int32), values.astype(np.float32))

    def _constant_rows(self, layer: Layer) -> NDArray[np.bool_]:
        if not self.fold:
            return np.zeros(layer.outputs, bool)
        empty = np.diff(layer.row_offsets) == 0
        if self.nonnegative:
            empty |= never_positive(layer)
        return np.asarray(empty)

    def _drop_unread(self, waiting: Layer, reader: Layer) -> tuple[Layer, Layer]:
        """Take out rows of `waiting` that no weight of the next layer reads."""
        if not self.fold:
            return waiting, reader
        read = inputs_read(reader)
        if read.all():
            return waiting, reader
        read[:1] |= not read.any()
        self.savings.unread += int((~read).sum())
        place = (np.cumsum(read, dtype=np.int32) - 1).astype(np.int32)
        columns = place[reader.column_indices]
        renumbered = _layer(
            reader, reader.row_offsets, columns, reader.values, reader.bias, int(read.sum())
        )
        return _select(waiting, read), renumbered


def equal_rows(layer: Layer) -> NDArray[np.int32]:
    """For each row, the first row with the same weights and bias, bit for bit.

    >>> equal_rows(Layer([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], bias=0.5)).tolist()
    [0, 1, 0]
    """
    return first_equal_rows(layer, layer.bias)


def fold_inputs(layer: Layer, inputs: Expansion, rows: NDArray[np.int32] | None = None) -> Layer:
    """The layer over the units its inputs became: constants go into the bias, equal inputs add up.

    Arguments:
        inputs: what each input of the layer became.
        rows: int32, the rows to keep; None for all.

    Raises:
        NetworkError: weights or biases add up beyond what float32 holds.

    >>> units = Expansion(np.array([0, 0, -1], np.int32), np.array([0, 0, 0.5], np.float32))
    >>> folded = fold_inputs(Layer([[1.0, 2.0, 4.0]], bias=1.0), units)
    >>> folded.weights.toarray().tolist(), folded.bias.tolist()
    ([[3.0]], [3.0])
    """
    kept = np.arange(layer.outputs, dtype=np.int32) if rows is None else rows
    offsets, columns, values, bias = fold_columns(layer, kept, inputs.unit, inputs.constant)
    if not (np.isfinite(values).all() and np.isfinite(bias).all()):
        raise NetworkError(
            "weights of equal or constant neurons add up beyond what float32 holds; "
            "scale them down (or, in compile, give merge=False, fold=False)"
        )
    return _layer(layer, offsets, columns, values, bias, int(inputs.unit.max(initial=-1)) + 1)


def inputs_read(layer: Layer, rows: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which inputs have a weight in any row, or in any of some rows.

    >>> layer = Layer([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], bias=0.0)
    >>> inputs_read(layer).tolist(), inputs_read(layer, np.array([True, False])).tolist()
    ([True, True, False], [True, False, False])
    """
    columns = layer.column_indices
    if rows is not None and not rows.all():
        columns = columns[np.repeat(rows, np.diff(layer.row_offsets))]
    read = np.zeros(layer.inputs, bool)
    read[columns] = True
    return read


def _constant_outputs(layer: Layer) -> NDArray[np.float32]:
    """What rows without weights put out; a row that is never positive puts out 0 as well."""
    value = np.maximum(layer.bias, np.float32(0.0)) if layer.activation == "relu" else layer.bias
    return value if layer.clip is None else np.minimum(value, np.float32(layer.clip))


def _select(layer: Layer, rows: NDArray[np.bool_]) -> Layer:
    if rows.all():
        return layer
    return layer.select_rows(np.flatnonzero(rows))


def _layer(
    like: Layer,
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    bias: NDArray[np.float32],
    inputs: int,
) -> Layer:
    return Layer.from_csr(offsets, columns, values, inputs, bias, like.activation, like.clip)
