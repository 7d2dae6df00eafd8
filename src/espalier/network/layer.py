"""Layer: the sparse weights, bias and activation of one layer, and the promises they keep."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from espalier.errors import NetworkError
from espalier.network.csr import CsrArrays, as_scipy, check_csr, entries_of, read_csr

Activation = Literal["relu", "identity"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "identity")


class Layer:
    """One sparse layer: ``y = activation(weights @ x + bias)``, capped at ``clip``.

    Arguments:
        weights: ``[outputs, inputs]``, anything scipy turns into CSR. Kept as float32 CSR with
            int32 sorted column indices and no duplicates. Explicit zeros stay.
        bias: one number, or float32 ``[outputs]``.
        activation: ``"relu"`` or ``"identity"``.
        clip: upper bound of the outputs, above 0, or None. Needs ``"relu"``.

    Raises:
        NetworkError: a non-finite value, a column out of range, a duplicate, or a wrong shape.

    >>> layer = Layer([[0.0, 2.0], [1.0, 0.0]], bias=-0.5, clip=32.0)
    >>> layer.weights.toarray().tolist(), layer.bias.tolist()
    ([[0.0, 2.0], [1.0, 0.0]], [-0.5, -0.5])
    """

    __slots__ = (
        "_weights",
        "activation",
        "bias",
        "clip",
        "column_indices",
        "inputs",
        "outputs",
        "row_offsets",
        "values",
    )

    outputs: int  # neurons this layer computes
    inputs: int  # neurons this layer reads
    row_offsets: NDArray[np.int64]  # [outputs + 1]
    column_indices: NDArray[np.int32]  # [nonzeros], rising within each row
    values: NDArray[np.float32]  # [nonzeros]
    bias: NDArray[np.float32]
    activation: Activation
    clip: float | None
    _weights: sp.csr_array[np.float32, tuple[int, int]] | None

    def __init__(
        self,
        weights: Any,
        bias: ArrayLike,
        activation: Activation = "relu",
        clip: float | None = None,
    ) -> None:
        self._set_weights(read_csr(weights))
        self._set_response(bias, activation, clip)

    @classmethod
    def from_csr(
        cls,
        row_offsets: ArrayLike,
        column_indices: ArrayLike,
        values: ArrayLike,
        inputs: int,
        bias: ArrayLike,
        activation: Activation = "relu",
        clip: float | None = None,
    ) -> Layer:
        """The layer of three CSR arrays, checked like any other and shared where they fit.

        Arguments:
            row_offsets: ``[outputs + 1]``, kept as int64.
            column_indices: ``[nonzeros]``, below ``inputs``, kept as int32.
            values: ``[nonzeros]``, kept as float32.

        >>> Layer.from_csr([0, 1, 2], [1, 0], [2.0, 1.0], inputs=2, bias=0.0)
        Layer(2 -> 2, 2 connections, relu)
        """
        arrays = check_csr(row_offsets, column_indices, values, inputs)
        return cls.from_checked(arrays, bias, activation, clip)

    @classmethod
    def from_checked(
        cls,
        arrays: CsrArrays,
        bias: ArrayLike,
        activation: Activation = "relu",
        clip: float | None = None,
    ) -> Layer:
        """The layer of CSR arrays that come from checked layers: they are trusted and shared."""
        layer = object.__new__(cls)
        layer._set_weights(arrays)
        layer._set_response(bias, activation, clip)
        return layer

    def with_response(
        self, bias: ArrayLike, activation: Activation = "relu", clip: float | None = None
    ) -> Layer:
        """The layer of the same weights, which are shared, with another bias, activation, clip.

        >>> Layer([[1.0]], bias=0.0).with_response(-0.5, clip=32.0).bias.tolist()
        [-0.5]
        """
        arrays = CsrArrays(self.row_offsets, self.column_indices, self.values, self.inputs)
        return Layer.from_checked(arrays, bias, activation, clip)

    def select_rows(self, rows: NDArray[np.int64]) -> Layer:
        """The layer of some of the outputs, in the order given.

        >>> Layer([[1.0], [2.0], [3.0]], bias=[0.1, 0.2, 0.3]).select_rows(np.array([2, 0])).bias
        array([0.3, 0.1], dtype=float32)
        """
        offsets, entries = entries_of(self.row_offsets, rows)
        chosen = self.column_indices[entries], self.values[entries]
        arrays = CsrArrays(offsets, *chosen, self.inputs)
        return Layer.from_checked(arrays, self.bias[rows], self.activation, self.clip)

    @property
    def weights(self) -> sp.csr_array[np.float32, tuple[int, int]]:
        """The weights as scipy CSR ``[outputs, inputs]``, sharing the layer's arrays."""
        if self._weights is None:
            self._weights = as_scipy(
                CsrArrays(self.row_offsets, self.column_indices, self.values, self.inputs)
            )
        return self._weights

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that an output can be, infinite where nothing limits it.

        >>> Layer([[1.0]], bias=0.0, clip=32.0).bounds
        (0.0, 32.0)
        """
        lower = 0.0 if self.activation == "relu" else -np.inf
        return lower, np.inf if self.clip is None else self.clip

    @property
    def nonzeros(self) -> int:
        """Number of stored weights, the layer's connections."""
        return len(self.values)

    def _set_weights(self, arrays: CsrArrays) -> None:
        self.row_offsets, self.column_indices, self.values, self.inputs = arrays
        self.outputs = len(self.row_offsets) - 1
        self._weights = None

    def _set_response(self, bias: ArrayLike, activation: Activation, clip: float | None) -> None:
        if activation not in ACTIVATIONS:
            raise NetworkError(f"activation is {activation!r}, wanted one of {ACTIVATIONS}")
        self.bias = _canonical_bias(bias, self.outputs)
        self.activation = activation
        self.clip = _canonical_clip(clip, activation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        return (
            (self.activation, self.clip) == (other.activation, other.clip)
            and (self.outputs, self.inputs) == (other.outputs, other.inputs)
            and np.array_equal(self.row_offsets, other.row_offsets)
            and np.array_equal(self.column_indices, other.column_indices)
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.bias, other.bias)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        clip = "" if self.clip is None else f", clip={self.clip:g}"
        return (
            f"Layer({self.inputs} -> {self.outputs}, {self.nonzeros:,} connections, "
            f"{self.activation}{clip})"
        )


def _canonical_bias(bias: ArrayLike, outputs: int) -> NDArray[np.float32]:
    array = _real_numbers("bias", bias)
    if array.ndim == 0:
        array = np.full(outputs, array, dtype=np.float32)
    if array.shape != (outputs,):
        raise NetworkError(f"bias has shape {array.shape}, wanted one number or [{outputs}]")
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise NetworkError(f"bias[{index}] is {array[index]}, wanted a finite number")
    array.flags.writeable = False
    return array


def _canonical_clip(clip: float | None, activation: Activation) -> float | None:
    if clip is None:
        return None
    if activation != "relu":
        raise NetworkError(f"clip={clip} needs activation='relu', came {activation!r}")
    array = _real_numbers("clip", clip)
    value = float(array) if array.ndim == 0 else np.nan
    if not 0.0 < value < np.inf:
        raise NetworkError(f"clip is {clip}, wanted a finite number above 0, or None")
    return value


def _real_numbers(name: str, given: Any) -> NDArray[np.float32]:
    """A float32 copy; numbers too large for it become infinite."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise NetworkError(f"{name} is not numeric: {error}") from error
    if array.dtype.kind not in "biuf":
        raise NetworkError(f"{name} holds {array.dtype}, wanted real numbers")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
