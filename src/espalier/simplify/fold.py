"""What a layer becomes over the units that its inputs became: constants and equal inputs folded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.errors import NetworkError
from espalier.kernels.rows import fold_columns
from espalier.network import Layer
from espalier.network.csr import CsrArrays


@dataclass(frozen=True)
class Expansion:
    """How the neurons of a layer come back from the units that compute them.

    Attributes:
        unit: int32 ``[neurons]``, the unit that computes each neuron, -1 for a constant one.
        constant: float32 ``[neurons]``, the value of each constant neuron.
    """

    unit: NDArray[np.int32]
    constant: NDArray[np.float32]

    @classmethod
    def identity(cls, width: int) -> Expansion:
        """Each neuron by a unit of its own."""
        return cls.of_units(np.arange(width, dtype=np.int32))

    @classmethod
    def of_units(cls, unit: NDArray[np.int32]) -> Expansion:
        """No neuron is constant."""
        return cls(unit, np.zeros(len(unit), np.float32))

    @property
    def is_identity(self) -> bool:
        return np.array_equal(self.unit, np.arange(len(self.unit)))


def fold_inputs(
    layer: Layer,
    inputs: Expansion,
    rows: NDArray[np.int32] | None = None,
    width: int | None = None,
) -> Layer:
    """The layer over the units its inputs became: constants go into the bias, equal inputs add up.

    Arguments:
        inputs: what each input of the layer became.
        rows: int32, the rows to keep; None for all.
        width: inputs of the new layer; None for as many as there are units.

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
            "scale them down, or give merge=False (and, in compile, fold=False)"
        )
    units = int(inputs.unit.max(initial=-1)) + 1 if width is None else width
    arrays = CsrArrays(offsets, columns, values, units)
    return Layer.from_checked(arrays, bias, layer.activation, layer.clip)


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


def drop_inputs(layer: Layer, read: NDArray[np.bool_]) -> Layer:
    """The layer over some of its inputs, which are all that it reads."""
    position = np.cumsum(read, dtype=np.int32) - np.int32(1)
    columns = position[layer.column_indices]
    arrays = CsrArrays(layer.row_offsets, columns, layer.values, int(read.sum()))
    return Layer.from_checked(arrays, layer.bias, layer.activation, layer.clip)


def outputs_without_inputs(layer: Layer) -> NDArray[np.float32]:
    """What each row puts out where no weight reaches it: its bias, clamped."""
    value = np.maximum(layer.bias, np.float32(0.0)) if layer.activation == "relu" else layer.bias
    return value if layer.clip is None else np.minimum(value, np.float32(layer.clip))
