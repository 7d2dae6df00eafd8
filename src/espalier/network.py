"""Layer and Network: sparse weights, bias, activation, and the promises they keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, cast, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from espalier.errors import NetworkError

Activation = Literal["relu", "identity"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "identity")
MAX_WIDTH = np.iinfo(np.int32).max


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

    __slots__ = ("activation", "bias", "clip", "weights")

    weights: sp.csr_array[np.float32, tuple[int, int]]
    bias: NDArray[np.float32]
    activation: Activation
    clip: float | None

    def __init__(
        self,
        weights: Any,
        bias: ArrayLike,
        activation: Activation = "relu",
        clip: float | None = None,
    ) -> None:
        self.weights = _canonical_csr(weights)
        self._set_response(bias, activation, clip)

    def with_response(
        self, bias: ArrayLike, activation: Activation = "relu", clip: float | None = None
    ) -> Layer:
        """The layer of the same weights, which are shared, with another bias, activation, clip.

        >>> Layer([[1.0]], bias=0.0).with_response(-0.5, clip=32.0).bias.tolist()
        [-0.5]
        """
        layer = object.__new__(Layer)
        layer.weights = self.weights
        layer._set_response(bias, activation, clip)
        return layer

    def _set_response(self, bias: ArrayLike, activation: Activation, clip: float | None) -> None:
        if activation not in ACTIVATIONS:
            raise NetworkError(f"activation is {activation!r}, wanted one of {ACTIVATIONS}")
        self.bias = _canonical_bias(bias, self.weights.shape[0])
        self.activation = activation
        self.clip = _canonical_clip(clip, activation)

    @property
    def outputs(self) -> int:
        """Number of neurons this layer computes."""
        return int(self.weights.shape[0])

    @property
    def inputs(self) -> int:
        """Number of neurons this layer reads."""
        return int(self.weights.shape[1])

    @property
    def nonzeros(self) -> int:
        """Number of stored weights, the layer's connections."""
        return int(self.weights.nnz)

    @property
    def row_offsets(self) -> NDArray[np.int64]:
        """CSR row offsets, int64 ``[outputs + 1]``."""
        return np.asarray(self.weights.indptr, dtype=np.int64)

    @property
    def column_indices(self) -> NDArray[np.int32]:
        """CSR column indices, int32 ``[nonzeros]``, rising within each row."""
        return np.asarray(self.weights.indices, dtype=np.int32)

    @property
    def values(self) -> NDArray[np.float32]:
        """CSR values, float32 ``[nonzeros]``."""
        return self.weights.data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        return (
            (self.activation, self.clip) == (other.activation, other.clip)
            and self.weights.shape == other.weights.shape
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


class LayerSource(Sequence[Layer]):
    """A sequence of layers made or read on demand: subclass it, give it to `Network`.

    Subclasses define ``__len__`` and ``layer(i)``; they override ``shape`` and ``nonzeros``
    where those are known without making the layer.
    """

    def layer(self, index: int) -> Layer:
        """Make or read layer ``index``, ``0 <= index < len(self)``."""
        raise NotImplementedError

    def shape(self, index: int) -> tuple[int, int]:
        """``(outputs, inputs)`` of layer ``index``."""
        layer = self.layer(index)
        return layer.outputs, layer.inputs

    def nonzeros(self, index: int) -> int:
        """Connections of layer ``index``."""
        return self.layer(index).nonzeros

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> LayerSource: ...
    def __getitem__(self, index: int | slice) -> Layer | LayerSource:
        if isinstance(index, slice):
            return _Selection(self, range(len(self))[index])
        return self.layer(range(len(self))[index])


class Network(Sequence[Layer]):
    """A sequence of layers, each as wide at its input as the one before at its output.

    Arguments:
        layers: `Layer` objects, all checked now, or a `LayerSource`, whose layers are made on
            demand and checked as they pass; such a network need not fit in memory.

    Raises:
        NetworkError: no layer at all, or neighbours of unequal width.

    >>> net = Network([Layer([[1.0, 0.0]], 0.0), Layer([[2.0], [3.0]], -1.0)])
    >>> net
    Network(2 layers, 2 -> 2, 3 connections)
    """

    def __init__(self, layers: Iterable[Layer] | LayerSource) -> None:
        self._source = layers if isinstance(layers, LayerSource) else _Stored(layers)
        if not len(self._source):
            raise NetworkError("a network needs at least one layer, none came")
        if not self.is_lazy:
            for index in range(len(self)):
                self._check_width(index, self._source.shape(index))

    @property
    def is_lazy(self) -> bool:
        """Whether layers are made on demand rather than held in memory."""
        return not isinstance(self._source, _Stored)

    @property
    def inputs(self) -> int:
        """Width of the input."""
        return self._source.shape(0)[1]

    @property
    def outputs(self) -> int:
        """Width of the output."""
        return self._source.shape(len(self) - 1)[0]

    @property
    def connections(self) -> int:
        """Stored weights of all layers; may read every layer of a lazy network once."""
        return sum(self._source.nonzeros(index) for index in range(len(self)))

    def shape(self, index: int) -> tuple[int, int]:
        """``(outputs, inputs)`` of one layer, without making it where the source knows."""
        return self._source.shape(range(len(self))[index])

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Network: ...
    def __getitem__(self, index: int | slice) -> Layer | Network:
        if isinstance(index, slice):
            return Network(self._source[index])
        position = range(len(self))[index]
        layer = self._source.layer(position)
        if self.is_lazy:
            self._check_width(position, (layer.outputs, layer.inputs))
        return layer

    def __iter__(self) -> Iterator[Layer]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        if self.is_lazy:
            return f"Network({len(self)} layers on demand, {self.inputs} -> {self.outputs})"
        return (
            f"Network({len(self)} layers, {self.inputs} -> {self.outputs}, "
            f"{self.connections:,} connections)"
        )

    def _check_width(self, index: int, shape: tuple[int, int]) -> None:
        if index == 0:
            return
        before = self._source.shape(index - 1)[0]
        if shape[1] != before:
            raise NetworkError(
                f"layer {index} reads {shape[1]} inputs, but layer {index - 1} has {before} "
                "outputs; weights are [outputs, inputs]: did you transpose?"
            )


class _Stored(LayerSource):
    """Layers held in memory."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = list(layers)
        for index, layer in enumerate(self._layers):
            if not isinstance(layer, Layer):
                raise NetworkError(f"layer {index} is a {type(layer).__name__}, wanted a Layer")

    def __len__(self) -> int:
        return len(self._layers)

    def layer(self, index: int) -> Layer:
        return self._layers[index]

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> LayerSource: ...
    def __getitem__(self, index: int | slice) -> Layer | LayerSource:
        return _Stored(self._layers[index]) if isinstance(index, slice) else self._layers[index]


class _Selection(LayerSource):
    """Some layers of another source, in the order of a range."""

    def __init__(self, source: LayerSource, chosen: range) -> None:
        self._source, self._chosen = source, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def layer(self, index: int) -> Layer:
        return self._source.layer(self._chosen[index])

    def shape(self, index: int) -> tuple[int, int]:
        return self._source.shape(self._chosen[index])

    def nonzeros(self, index: int) -> int:
        return self._source.nonzeros(self._chosen[index])


def _canonical_csr(weights: Any) -> sp.csr_array[np.float32, tuple[int, int]]:
    try:
        csr = sp.csr_array(weights)
        with np.errstate(over="ignore"):  # what becomes infinite is refused below, by name
            values = np.asarray(csr.data, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise NetworkError(
            f"weights is a {type(weights).__name__} that scipy cannot read as a 2-d real "
            f"matrix: {error}"
        ) from error
    if csr.ndim != 2:
        raise NetworkError(f"weights has {csr.ndim} dimensions, wanted [outputs, inputs]")
    if max(csr.shape) > MAX_WIDTH:
        raise NetworkError(f"weights is {csr.shape}, wanted at most {MAX_WIDTH:,} each way")
    if np.iscomplexobj(csr.data):
        raise NetworkError("weights is complex, wanted real numbers")
    _check_structure(csr)
    if not _columns_rise(csr.indptr, csr.indices):
        csr = csr.sorted_indices()
        _check_no_duplicates(csr.indptr, csr.indices)
        with np.errstate(over="ignore"):
            values = np.asarray(csr.data, dtype=np.float32)
    columns = np.asarray(csr.indices, dtype=np.int32)
    offsets = csr.indptr
    finite = np.isfinite(values)
    if not finite.all():
        position = int(np.flatnonzero(~finite)[0])
        row = int(np.searchsorted(offsets, position, side="right")) - 1
        raise NetworkError(
            f"weights[{row}, {columns[position]}] is {csr.data[position]}, "
            "wanted a number finite in float32"
        )
    if len(columns) <= MAX_WIDTH:
        offsets = np.asarray(offsets, dtype=np.int32)  # scipy wants one type for both
    # The object is our own by now, though it may share the caller's arrays.
    result: Any = csr
    result.data, result.indices, result.indptr = values.view(), columns.view(), offsets.view()
    for array in (result.data, result.indices, result.indptr):
        array.flags.writeable = False
    result.has_canonical_format = True
    return cast("sp.csr_array[np.float32, tuple[int, int]]", result)


def _check_structure(csr: Any) -> None:
    """Offsets rise from 0 to the number of values and every column lies in the matrix."""
    offsets, columns = csr.indptr, csr.indices
    outputs, inputs = csr.shape
    if len(offsets) != outputs + 1 or offsets[0] != 0 or offsets[-1] != len(columns):
        raise NetworkError(
            f"row offsets must be {outputs + 1} numbers from 0 to {len(columns)}, "
            f"came {len(offsets)} from {offsets[:1]} to {offsets[-1:]}"
        )
    if (np.diff(offsets) < 0).any():
        row = int(np.flatnonzero(np.diff(offsets) < 0)[0])
        raise NetworkError(f"row offsets fall at row {row}, wanted rising offsets")
    if len(columns) and (columns.min() < 0 or columns.max() >= inputs):
        bad = int(columns.min()) if columns.min() < 0 else int(columns.max())
        raise NetworkError(f"column index {bad} lies outside 0 ... {inputs - 1}")


def _columns_rise(offsets: NDArray[Any], columns: NDArray[Any]) -> bool:
    """Whether columns rise strictly within each row: sorted, and none twice."""
    rises = np.empty(len(columns) + 1, dtype=bool)
    np.greater(columns[1:], columns[:-1], out=rises[1:-1])
    rises[offsets] = True  # where a row starts there is nothing to rise from
    return bool(rises.all())


def _check_no_duplicates(offsets: NDArray[Any], columns: NDArray[Any]) -> None:
    """In sorted rows an equal pair within a row is a duplicate."""
    for position in np.flatnonzero(columns[1:] == columns[:-1]) + 1:
        row = int(np.searchsorted(offsets, position, side="right")) - 1
        if position > offsets[row]:
            raise NetworkError(
                f"weights[{row}, {columns[position]}] appears twice; "
                "add duplicates up first, e.g. with matrix.sum_duplicates()"
            )


def _canonical_bias(bias: ArrayLike, outputs: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(bias, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise NetworkError(f"bias is not numeric: {error}") from error
    if array.ndim == 0:
        array = np.full(outputs, array, dtype=np.float32)
    if array.shape != (outputs,):
        raise NetworkError(f"bias has shape {array.shape}, wanted one number or [{outputs}]")
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise NetworkError(f"bias[{index}] is {array[index]}, wanted a finite number")
    array = array.copy()
    array.flags.writeable = False
    return array


def _canonical_clip(clip: float | None, activation: Activation) -> float | None:
    if clip is None:
        return None
    if activation != "relu":
        raise NetworkError(f"clip={clip} needs activation='relu', came {activation!r}")
    try:
        with np.errstate(over="ignore"):
            value = float(np.float32(clip))
    except (TypeError, ValueError) as error:
        raise NetworkError(f"clip is not a number: {clip!r}") from error
    if not 0.0 < value < np.inf:
        raise NetworkError(f"clip is {clip}, wanted a finite number above 0, or None")
    return value
