"""Networks without structure: random wiring, weights and biases, so that no shortcut applies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import InputError
from espalier.generate.rng import Rng, checked_count, checked_seed
from espalier.network import Layer, LayerSource, Network

DEFAULT_LAYERS = 120


def random_network(
    neurons: int | Sequence[int] = 1024,
    layers: int | None = None,
    *,
    connections: int = 32,
    seed: int = 0,
    bias: float = 0.3,
    clip: float | None = 32.0,
) -> Network:
    """Make a network without structure, layer by layer on demand.

    Every output reads ``connections`` different inputs, all choices equally likely. Weights are
    spread evenly over ``+-sqrt(6 / connections)`` and biases over ``+-bias``. These are He's
    weights: a ReLU layer keeps the mean square of its inputs, and half of its outputs are zero,
    at any depth; the biases keep it from fading, and rounding errors do not grow. No two neurons
    are equal, no row dies, nothing settles: there is nothing to skip.

    Arguments:
        neurons: width of the network, or ``layers + 1`` widths: inputs, then each layer's outputs.
        layers: number of layers; 120 unless ``neurons`` tells it.
        connections: weights of every output, at most the inputs of each layer.
        seed: chooses the network.
        bias: largest size of a bias, from 0 on.
        clip: upper bound of every activation, or None.

    Returns:
        A lazy `Network`; any layer is made without those before it.

    Raises:
        InputError: sizes that do not fit together, a seed or a bias below 0.
        NetworkError: a clip that no layer takes.

    Source: K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers", ICCV 2015.

    >>> net = random_network([64, 100, 10], connections=8)
    >>> net, net.connections
    (Network(2 layers on demand, 64 -> 10), 880)
    >>> net[1] == random_network([64, 100, 10], connections=8)[1]
    True
    """
    widths = _checked_widths(neurons, layers)
    connections = checked_count("connections", connections)
    narrowest = min(widths[:-1])
    if connections > narrowest:
        raise InputError(
            f"connections is {connections}, wanted at most {narrowest}, the inputs of the "
            "narrowest layer"
        )
    if not 0.0 <= bias < math.inf:
        raise InputError(f"bias is {bias}, wanted a finite number from 0 on")
    # A clip that no layer would take is refused here and not when the first layer is made.
    Layer([[1.0]], bias, clip=clip)
    return Network(RandomLayers(widths, connections, checked_seed(seed), bias, clip))


class RandomLayers(LayerSource):
    """The layers of a network without structure, made on demand."""

    def __init__(
        self,
        widths: Sequence[int],
        connections: int,
        seed: int,
        bias: float,
        clip: float | None,
    ) -> None:
        self._widths, self._connections = tuple(widths), connections
        self._seed, self._bias, self._clip = seed, bias, clip

    def __len__(self) -> int:
        return len(self._widths) - 1

    def shape(self, index: int) -> tuple[int, int]:
        return self._widths[index + 1], self._widths[index]

    def nonzeros(self, index: int) -> int:
        return self._widths[index + 1] * self._connections

    def layer(self, index: int) -> Layer:
        outputs, inputs = self.shape(index)
        rng = Rng(self._seed, index)
        bound = math.sqrt(6.0 / self._connections)
        columns = distinct_columns(rng, outputs, inputs, self._connections)
        values = rng.uniform(-bound, bound, columns.size).astype(np.float32)
        bias = rng.uniform(-self._bias, self._bias, outputs).astype(np.float32)
        offsets = np.arange(outputs + 1, dtype=np.int64) * self._connections
        weights = sp.csr_array((values, columns.ravel(), offsets), shape=(outputs, inputs))
        return Layer(weights, bias, clip=self._clip)


def distinct_columns(rng: Rng, rows: int, columns: int, connections: int) -> NDArray[np.int32]:
    """Random sets of different columns, one sorted row each, int32 ``[rows, connections]``.

    Repeated columns are drawn again until none is left, which treats all columns alike; where
    more than half are wanted, the smallest of one random key per column decide instead.
    """
    if 2 * connections > columns:
        order = np.argsort(rng.words(rows, columns), axis=1, kind="stable")
        return np.sort(order[:, :connections].astype(np.int32), axis=1)
    drawn = np.sort(rng.below(columns, rows, connections), axis=1)
    unfinished = np.arange(rows)
    while True:
        repeated = drawn[unfinished, 1:] == drawn[unfinished, :-1]
        unfinished = unfinished[repeated.any(axis=1)]
        if not len(unfinished):
            return drawn
        redrawn = drawn[unfinished]
        repeats = np.nonzero(redrawn[:, 1:] == redrawn[:, :-1])
        redrawn[repeats[0], repeats[1] + 1] = rng.below(columns, len(repeats[0]))
        drawn[unfinished] = np.sort(redrawn, axis=1)


def _checked_widths(neurons: int | Sequence[int], layers: int | None) -> tuple[int, ...]:
    if not isinstance(neurons, Iterable):
        depth = DEFAULT_LAYERS if layers is None else checked_count("layers", layers)
        return (checked_count("neurons", neurons),) * (depth + 1)
    widths = tuple(checked_count("neurons", width) for width in neurons)
    if len(widths) < 2:
        raise InputError(f"neurons has {len(widths)} widths, wanted at least 2")
    if layers is not None and layers != len(widths) - 1:
        raise InputError(
            f"neurons has {len(widths)} widths for {len(widths) - 1} layers, but layers is {layers}"
        )
    return widths
