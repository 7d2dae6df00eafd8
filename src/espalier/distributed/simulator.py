"""All parts of a partitioned network in one process: what they send, what they compute, how long.

The exchanges are those that ranks use, and copies stand for messages; so words and messages are
exact for any number of parts, and everything a distributed run computes can be checked. Products
are made in float64 by scipy: an independent answer, not a fast one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange, exchanges_of
from espalier.distributed.comm.index_map import IndexMap
from espalier.distributed.inference.local_layer import LocalLayer, local_layer
from espalier.network import Layer, Network
from espalier.partitioning import Partition
from espalier.progress import Progress

Floats = NDArray[np.float64]
WORD_BYTES = 4


@dataclass(frozen=True)
class Machine:
    """What messages and products cost: a latency-bandwidth model.

    Attributes:
        latency: seconds of one message.
        bandwidth: bytes per second that a part sends.
        rate: multiply-adds per second of a part.
    """

    latency: float
    bandwidth: float
    rate: float


@dataclass(frozen=True)
class SimulatedLayer:
    """One layer over all parts."""

    parts: list[LocalLayer]
    exchanges: list[Exchange]
    index_map: IndexMap  # of the neurons before the layer

    def seconds(self, machine: Machine, batch: int) -> tuple[float, float]:
        """Computing and sending one batch forward, each of the part that takes longest."""
        computing = max(piece.layer.nonzeros for piece in self.parts) * batch / machine.rate
        size = WORD_BYTES * batch / machine.bandwidth
        sending = max(
            max(ex.messages_sent, ex.messages_received) * machine.latency
            + max(ex.words_sent, ex.words_received) * size
            for ex in self.exchanges
        )
        return computing, sending


@dataclass(frozen=True)
class Simulation:
    """A partitioned network, all of it here.

    Attributes:
        layers: in order; the first exchanges inputs too, as if their owners alone had them.
        after: where the outputs are.

    >>> from espalier import radixnet, partition
    >>> net = radixnet(64, 2)
    >>> simulation = Simulation.of(net, partition(net, 2, "block"))
    >>> simulation.words_by_layer()
    [64, 64]
    """

    network: Network
    layers: list[SimulatedLayer]
    after: IndexMap

    @classmethod
    def of(
        cls,
        network: Network,
        partition: Partition,
        *,
        merge: bool = False,
        progress: Progress | None = None,
    ) -> Simulation:
        """Divide a network as its ranks would.

        Arguments:
            merge: whether equal rows of a part become one, as distributed inference does it.
        """
        partition.check(network)
        parts = range(partition.parts)
        index_map = IndexMap.of(partition.owners[0], partition.parts)
        layers = []
        for index in range(len(network)):
            layer, owners = network[index], partition.owners[index + 1]
            pieces = [
                local_layer(
                    layer.select_rows(np.flatnonzero(owners == part)), index_map, part, merge=merge
                )
                for part in parts
            ]
            exchanges = exchanges_of([each.takes for each in pieces], index_map)
            layers.append(SimulatedLayer(pieces, exchanges, index_map))
            index_map = IndexMap.of(owners, partition.parts, [each.units for each in pieces])
            if progress is not None:
                progress(index + 1, len(network))
        return cls(network, layers, index_map)

    def words_by_layer(self) -> list[int]:
        """Words that all parts send for one sample, forward."""
        return [sum(ex.words_sent for ex in layer.exchanges) for layer in self.layers]

    def messages_by_layer(self) -> list[int]:
        """Messages that all parts send for one batch, forward."""
        return [sum(ex.messages_sent for ex in layer.exchanges) for layer in self.layers]

    def seconds(self, machine: Machine, batch: int) -> float:
        """Predicted time of one batch, forward: layer by layer the slowest part, then its words."""
        return sum(sum(layer.seconds(machine, batch)) for layer in self.layers)

    def run(self, x: Any) -> Floats:
        """Activations ``[samples, outputs]`` of samples ``[samples, inputs]``."""
        for _, outputs in self._forward(x):
            last = outputs
        return _collect(last, self.after)

    def gradients(self, x: Any, dy: Any) -> tuple[Floats, list[sp.csr_array[Any, Any]]]:
        """The gradients of ``(outputs * dy).sum()`` by samples and by every layer's weights.

        Arguments:
            x: ``[samples, inputs]``.
            dy: ``[samples, outputs]``.

        Returns:
            ``[samples, inputs]``, and for each layer scipy CSR ``[outputs, inputs]`` on its
            pattern. Layers must not be merged.
        """
        kept = list(self._forward(x))
        gradient = _scatter(_dense(dy), self.after)
        by_weights: list[sp.csr_array[Any, Any]] = []
        places = [*(layer.index_map for layer in self.layers[1:]), self.after]
        for index in reversed(range(len(self.layers))):
            layer, (seen, outputs) = self.layers[index], kept[index]
            passed = [
                each * _slope(piece.layer, out)
                for each, piece, out in zip(gradient, layer.parts, outputs, strict=True)
            ]
            by_weights.insert(0, self._by_weights(index, passed, seen, places[index]))
            partial = [
                np.asarray(piece.layer.weights.astype(np.float64).T @ each)
                for piece, each in zip(layer.parts, passed, strict=True)
            ]
            gradient = _fold(partial, layer.exchanges)
        return _collect(gradient, self.layers[0].index_map), by_weights

    def _forward(self, x: Any) -> Iterator[tuple[list[Floats], list[Floats]]]:
        """Of every layer, what each part sees and what it computes."""
        owned = _scatter(_dense(x), self.layers[0].index_map)
        for layer in self.layers:
            seen = _expand(owned, layer.exchanges)
            owned = [
                _respond(piece.layer, _multiply(piece.layer, neurons))
                for piece, neurons in zip(layer.parts, seen, strict=True)
            ]
            yield seen, owned

    def _by_weights(
        self, index: int, passed: list[Floats], seen: list[Floats], rows_at: IndexMap
    ) -> sp.csr_array[Any, Any]:
        """The sampled products of all parts, put together under the numbers of the whole layer."""
        layer, whole = self.layers[index], self.network[index]
        rows, columns, values = [], [], []
        for part, piece in enumerate(layer.parts):
            exchange = layer.exchanges[part]
            names = np.concatenate(
                [layer.index_map.neurons(part)]
                + [layer.index_map.neurons(p)[t] for p, t in enumerate(exchange.takes)]
            )
            inside = np.repeat(np.arange(piece.layer.outputs), np.diff(piece.layer.row_offsets))
            at = piece.layer.column_indices
            rows.append(rows_at.neurons(part)[inside])
            columns.append(names[at])
            values.append(np.einsum("ij,ij->i", passed[part][inside], seen[part][at]))
        triple = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        return sp.csr_array(triple, shape=(whole.outputs, whole.inputs))


def _expand(owned: list[Floats], exchanges: list[Exchange]) -> list[Floats]:
    """What every part sees: its own neurons, then those it receives."""
    return [
        np.concatenate([owned[ex.part]] + [owned[p][taken] for p, taken in enumerate(ex.takes)])
        for ex in exchanges
    ]


def _fold(partial: list[Floats], exchanges: list[Exchange]) -> list[Floats]:
    """Partial sums back to the owners, added in the order of parts."""
    sums = [each[: ex.local].copy() for each, ex in zip(partial, exchanges, strict=True)]
    for ex in exchanges:
        for owner, taken in enumerate(ex.takes):
            begin, end = ex.starts[owner], ex.starts[owner + 1]
            sums[owner][taken] += partial[ex.part][begin:end]
    return sums


def _scatter(rows: Floats, index_map: IndexMap) -> list[Floats]:
    return [rows.T[index_map.neurons(part)] for part in range(index_map.parts)]


def _collect(owned: list[Floats], index_map: IndexMap) -> Floats:
    whole = np.empty((len(index_map.part), owned[0].shape[1]))
    for part, neurons in enumerate(owned):
        mine = index_map.neurons(part)
        whole[mine] = neurons[index_map.place[mine]]
    return whole.T


def _multiply(layer: Layer, neurons: Floats) -> Floats:
    return np.asarray(layer.weights.astype(np.float64) @ neurons)


def _respond(layer: Layer, sums: Floats) -> Floats:
    return np.clip(sums + layer.bias[:, None].astype(np.float64), *layer.bounds)


def _slope(layer: Layer, outputs: Floats) -> Floats:
    if layer.activation != "relu":
        return np.ones_like(outputs)
    lower, upper = layer.bounds
    return ((outputs > lower) & (outputs < upper)).astype(np.float64)


def _dense(x: Any) -> Floats:
    rows: Any = x
    return np.asarray(rows.toarray() if sp.issparse(x) else rows, np.float64)
