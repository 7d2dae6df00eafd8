"""Initial patterns of sparse layers, as scipy CSR arrays of bools ``[outputs, inputs]``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import generate
from espalier.errors import InputError

Pattern: TypeAlias = "sp.csr_array[np.bool_, tuple[int, int]]"


def uniform(outputs: int, inputs: int, density: float, seed: int | None = None) -> Pattern:
    """Connections at random, as many for each output as for any other, give or take one.

    Arguments:
        density: connections over ``outputs * inputs``, from 0 to 1; met to the nearest one.
        seed: None for another pattern each time.

    Raises:
        InputError: a density outside 0 ... 1, or a size below 0.

    >>> uniform(4, 10, density=0.25, seed=0).sum(axis=1).tolist()
    [2, 2, 3, 3]
    """
    if not 0.0 <= density <= 1.0:
        raise InputError(f"density is {density!r}, wanted a number from 0 to 1")
    if outputs < 0 or inputs < 0:
        raise InputError(f"a pattern of {outputs} x {inputs} does not exist")
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise InputError(f"seed is {seed!r}, wanted a whole number from 0 up, or None")
    rng = np.random.default_rng(seed)
    least, more = divmod(round(density * (outputs * inputs)), max(outputs, 1))
    counts = np.full(outputs, least)
    counts[rng.choice(outputs, more, replace=False)] += 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    columns = np.empty(offsets[-1], np.int32)
    for row, count in enumerate(counts):
        chosen = rng.choice(inputs, count, replace=False, shuffle=False)
        columns[offsets[row] : offsets[row + 1]] = np.sort(chosen)
    return as_pattern(offsets, columns, inputs)


def erdos_renyi_kernel(shapes: Sequence[Sequence[int]], density: float) -> list[float]:
    """Densities of layers that together have the density asked for: ERK.

    A layer's density is in proportion to the sum of its dimensions over their product, so that
    wide layers become the sparsest; one that would exceed 1 is dense, and the others make up.

    Arguments:
        shapes: of the weights, ``[outputs, inputs]`` or ``[filters, channels, height, width]``.
        density: non-zeros of all layers over their weights, above 0, at most 1.

    Source: U. Evci et al., "Rigging the Lottery", ICML 2020, section 3.

    >>> [round(each, 3) for each in erdos_renyi_kernel([(300, 784), (100, 300), (10, 100)], 0.1)]
    [0.08, 0.23, 1.0]
    """
    if not 0.0 < density <= 1.0:
        raise InputError(f"density is {density!r}, wanted a number above 0, at most 1")
    sizes = [math.prod(shape) for shape in shapes]
    if not sizes or min(sizes) < 1:
        raise InputError(f"shapes is {shapes!r}, wanted one or more without a 0")
    ratios = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense: set[int] = set()
    while len(dense) < len(sizes):
        rest = [layer for layer in range(len(sizes)) if layer not in dense]
        wanted = density * sum(sizes) - sum(sizes[layer] for layer in dense)
        scale = wanted / sum(ratios[layer] * sizes[layer] for layer in rest)
        beyond = {layer for layer in rest if scale * ratios[layer] > 1.0}
        if not beyond:
            return [1.0 if n in dense else scale * ratio for n, ratio in enumerate(ratios)]
        dense |= beyond
    return [1.0] * len(sizes)


def radixnet(
    neurons: int, layers: int, seed: int = 0, kronecker: int | Sequence[int] | None = None
) -> list[Pattern]:
    """The patterns of a RadiX-Net: every input reaches every output, by as many paths as any other.

    Arguments:
        neurons: width of every layer.
        layers: number of layers.
        seed: wires the blocks after the first anew.
        kronecker: copies of every base neuron, see `espalier.generate.radixnet`.

    >>> [pattern.shape for pattern in radixnet(64, layers=2)]
    [(64, 64), (64, 64)]
    """
    network = generate.radixnet(neurons, layers, seed=seed, bias=0.0, kronecker=kronecker)
    return [as_pattern(layer.row_offsets, layer.column_indices, layer.inputs) for layer in network]


def as_pattern(row_offsets: NDArray[Any], column_indices: NDArray[Any], inputs: int) -> Pattern:
    """The two arrays as one matrix of bools."""
    ones = np.ones(len(column_indices), bool)
    arrays = ones, np.asarray(column_indices), np.asarray(row_offsets)
    return sp.csr_array(arrays, shape=(len(row_offsets) - 1, inputs))
