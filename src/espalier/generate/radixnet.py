"""RadiX-Net: the generator of the Sparse DNN Graph Challenge's networks.

A mixed-radix system ``(r_0, ..., r_m)`` with product U is a block of m + 1 layers over U base
neurons: output ``o`` of layer j reads the inputs ``o + k * r_0 * ... * r_(j-1) mod U`` for
``k < r_j``, so that a block joins every input to every output by exactly one path. The Kronecker
product with a matrix of ones then copies every base neuron; copy c of neuron a is ``a + U * c``.

The challenge repeats one block with new wiring: block 0 as it stands, each later one with its
inputs permuted, the same way in all its layers.

Source: J. Kepner and R. Robinett, "RadiX-Net: Structured Sparse Matrices for Deep Neural
Networks", IPDPSW 2019; the permutations are read off the official networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import InputError
from espalier.generate.rng import Rng, checked_count, checked_seed
from espalier.network import Layer, LayerSource, Network

CHALLENGE_COPIES = 16


def radixnet(
    neurons: int = 1024,
    layers: int = 120,
    *,
    seed: int = 0,
    bias: float | None = None,
    clip: float | None = 32.0,
    radices: Sequence[int] | None = None,
    kronecker: int | Sequence[int] | None = None,
    weight: float | None = None,
) -> Network:
    """Make a RadiX-Net, layer by layer on demand; by default a network of the Graph Challenge.

    Arguments:
        neurons: inputs of the network, U times the first Kronecker width.
        layers: number of layers; block ``len(radices)`` long follows block.
        seed: chooses the permutations of the blocks after the first.
        bias: bias of every neuron. Default: the challenge's, -0.30 for 1024 neurons and 0.05
            lower each time the neurons grow fourfold.
        clip: upper bound of every activation, or None.
        radices: mixed-radix system with product U. Default: the prime factors of U, rising,
            which is all 2 for the challenge's sizes.
        kronecker: copies of every base neuron, one number for all layers, or ``layers + 1``
            numbers, one for the inputs and one for each layer's outputs. Default 16.
        weight: every weight of the network. Default: 2 divided by the connections of an output,
            so that each output's weights add up to 2 (1/16 in the challenge).

    Returns:
        A lazy `Network`; making one layer takes time in proportion to its connections alone.

    Raises:
        InputError: sizes that do not fit together, or a seed below 0.
        NetworkError: a bias, clip or weight that no layer takes.

    >>> net = radixnet(neurons=1024, layers=120)
    >>> net, net.connections
    (Network(120 layers on demand, 1024 -> 1024), 3932160)
    >>> radixnet(12, 2, radices=[3, 2], kronecker=[2, 1, 3], bias=0.0)[0].weights.shape
    (6, 12)
    """
    layers = checked_count("layers", layers)
    copies = _checked_copies(kronecker, layers)
    base = _base_width(checked_count("neurons", neurons), copies[0])
    radices = _prime_factors(base) if radices is None else _checked_radices(radices, base)
    bias = _challenge_bias(neurons) if bias is None else bias
    # Numbers no layer would take are refused here and not when the first layer is made.
    Layer([[1.0 if weight is None else weight]], bias, clip=clip)
    return Network(RadixLayers(radices, copies, checked_seed(seed), bias, clip, weight))


class RadixLayers(LayerSource):
    """The layers of a RadiX-Net, made on demand."""

    def __init__(
        self,
        radices: Sequence[int],
        copies: Sequence[int],
        seed: int,
        bias: float,
        clip: float | None,
        weight: float | None,
    ) -> None:
        self._radices = tuple(radices)
        self._places = [math.prod(self._radices[:digit]) for digit in range(len(self._radices))]
        self._base = math.prod(self._radices)
        self._copies = tuple(copies)
        self._seed, self._bias, self._clip, self._weight = seed, bias, clip, weight

    def __len__(self) -> int:
        return len(self._copies) - 1

    def shape(self, index: int) -> tuple[int, int]:
        return self._base * self._copies[index + 1], self._base * self._copies[index]

    def nonzeros(self, index: int) -> int:
        return self.shape(index)[0] * self._connections(index)

    def layer(self, index: int) -> Layer:
        columns = np.tile(self._sorted_columns(index).ravel(), self._copies[index + 1])
        return self._make(index, columns, self.shape(index)[0])

    def rows(self, index: int, rows: NDArray[np.int64]) -> Layer:
        columns = self._sorted_columns(index)[rows % self._base].ravel()
        return self._make(index, columns, len(rows))

    def permutation(self, block: int, inputs: int) -> NDArray[np.int32]:
        """Where block ``block`` finds each of its inputs, int32 ``[inputs]``; block 0 has none."""
        return Rng(self._seed, block).permutation(inputs)

    def _make(self, index: int, columns: NDArray[np.int32], outputs: int) -> Layer:
        connections = self._connections(index)
        weight = 2.0 / connections if self._weight is None else self._weight
        values = np.full(columns.size, weight, dtype=np.float32)
        offsets = np.arange(outputs + 1, dtype=np.int32) * np.int32(connections)
        shape = outputs, self.shape(index)[1]
        return Layer(
            sp.csr_array((values, columns, offsets), shape=shape), self._bias, clip=self._clip
        )

    def _sorted_columns(self, index: int) -> NDArray[np.int32]:
        """Inputs of the base outputs as the block is wired, int32 ``[base, connections]``."""
        columns = self._base_columns(index)
        block = index // len(self._radices)
        if block > 0:
            columns = self.permutation(block, self.shape(index)[1])[columns]
        columns.sort(axis=1)
        return columns

    def _connections(self, index: int) -> int:
        return self._radices[index % len(self._radices)] * self._copies[index]

    def _base_columns(self, index: int) -> NDArray[np.int32]:
        """Inputs of the base outputs, all copies, int32 ``[base, connections]``."""
        digit = index % len(self._radices)
        steps = np.arange(self._radices[digit], dtype=np.int32) * np.int32(self._places[digit])
        copies = np.arange(self._copies[index], dtype=np.int32) * np.int32(self._base)
        outputs = np.arange(self._base, dtype=np.int32)
        inputs = (outputs[:, None] + steps) % np.int32(self._base)
        return (inputs[:, :, None] + copies).reshape(self._base, -1)


def _challenge_bias(neurons: int) -> float:
    return -0.30 - 0.05 * math.log(neurons / 1024, 4)


def _checked_copies(kronecker: int | Sequence[int] | None, layers: int) -> tuple[int, ...]:
    if kronecker is None:
        kronecker = CHALLENGE_COPIES
    if not isinstance(kronecker, Iterable):
        return (checked_count("kronecker", kronecker),) * (layers + 1)
    copies = tuple(checked_count("kronecker", width) for width in kronecker)
    if len(copies) != layers + 1:
        raise InputError(
            f"kronecker has {len(copies)} widths, wanted {layers + 1}: one for the inputs and "
            f"one for each of the {layers} layers"
        )
    return copies


def _base_width(neurons: int, copies: int) -> int:
    base, rest = divmod(neurons, copies)
    if rest or base < 2:
        raise InputError(
            f"neurons is {neurons}, wanted {copies} (the first Kronecker width) times a base "
            "width of at least 2; give kronecker=... to change the width"
        )
    return base


def _checked_radices(radices: Sequence[int], base: int) -> tuple[int, ...]:
    checked = tuple(checked_count("radices", radix, least=2) for radix in radices)
    if math.prod(checked) != base:
        raise InputError(
            f"radices {list(checked)} have product {math.prod(checked)}, wanted {base} "
            "(neurons divided by the first Kronecker width)"
        )
    return checked


def _prime_factors(number: int) -> tuple[int, ...]:
    factors = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return (*factors, number) if number > 1 else tuple(factors)
