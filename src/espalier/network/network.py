"""Network: a sequence of layers, held in memory or made on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from espalier.errors import NetworkError
from espalier.network.from_torch import read_chain
from espalier.network.layer import Layer


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

    def rows(self, index: int, rows: NDArray[np.int64]) -> Layer:
        """Some rows of layer ``index``, rising; sources that can do so make no other."""
        return self.layer(index).select_rows(rows)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> LayerSource: ...
    def __getitem__(self, index: int | slice) -> Layer | LayerSource:
        if isinstance(index, slice):
            return _LayerSubset(self, range(len(self))[index])
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
        self._source = layers if isinstance(layers, LayerSource) else _HeldLayers(layers)
        if not len(self._source):
            raise NetworkError("a network needs at least one layer, none came")
        if not self.is_lazy:
            for index in range(len(self)):
                self._check_width(index, self._source.shape(index))

    @classmethod
    def from_torch(cls, model: Any) -> Network:
        """The network of a PyTorch model that is a chain of linear layers, in evaluation mode.

        Arguments:
            model: `torch.nn.Linear` or `espalier.nn.SparseLinear` layers, each with a ReLU (a
                ``Hardtanh`` from 0 on is a ReLU with a clip) or nothing behind it, one after the
                other in modules of any depth. Dropout and flattening are left out; batch norms and
                selections of features are folded in. Zeros of a dense weight are not stored.

        Raises:
            NetworkError: a step that is no layer of a chain; it is named.
            MissingExtraError: torch is not installed.

        >>> from torch import nn
        >>> Network.from_torch(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        Network(2 layers, 4 -> 2, 18 connections)
        """
        return cls(read_chain(model))

    @property
    def is_lazy(self) -> bool:
        """Whether layers are made on demand rather than held in memory."""
        return not isinstance(self._source, _HeldLayers)

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

    def rows(self, index: int, rows: NDArray[np.int64]) -> Layer:
        """Some rows of one layer, ``[rows, inputs]``; where the source can, no other is made.

        Arguments:
            rows: rising, below the layer's outputs.

        >>> Network([Layer([[1.0], [2.0]], bias=0.0)]).rows(0, np.array([1])).values
        array([2.], dtype=float32)
        """
        return self._source.rows(range(len(self))[index], rows)

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Network: ...
    def __getitem__(self, index: int | slice) -> Layer | Network:
        if isinstance(index, slice):
            held = not self.is_lazy
            return Network([*self][index] if held else self._source[index])
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


class _HeldLayers(LayerSource):
    """Layers held in memory."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        if not isinstance(layers, Iterable):
            raise NetworkError(f"layers is a {type(layers).__name__}, wanted some Layer objects")
        self._layers = list(layers)
        for index, layer in enumerate(self._layers):
            if not isinstance(layer, Layer):
                raise NetworkError(f"layer {index} is a {type(layer).__name__}, wanted a Layer")

    def __len__(self) -> int:
        return len(self._layers)

    def layer(self, index: int) -> Layer:
        return self._layers[index]


class _LayerSubset(LayerSource):
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

    def rows(self, index: int, rows: NDArray[np.int64]) -> Layer:
        return self._source.rows(self._chosen[index], rows)
