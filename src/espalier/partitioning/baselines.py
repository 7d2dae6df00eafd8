"""Owners by row number alone, whatever the rows hold: the baselines of every partition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def block_owners(rows: int, parts: int) -> NDArray[np.int32]:
    """Rows as they stand, in equal blocks.

    >>> block_owners(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return (np.arange(rows, dtype=np.int64) * parts // max(rows, 1)).astype(np.int32)


def baseline_owners(
    rows: int, parts: int, method: str, seed: int, boundary: int
) -> NDArray[np.int32]:
    """The part of every row of a boundary.

    Arguments:
        method: ``"random"``, ``"hash"``, or blocks of rows as they stand.
        boundary: 0 is the inputs, 1 the rows of the first layer.
    """
    if method == "random":
        # Raw words, unlike permutations, are the same under every version of numpy.
        bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(boundary,)))
        return block_owners(rows, parts)[np.argsort(bits.random_raw(rows), kind="stable")]
    if method == "hash":
        return (_mixed(np.arange(rows, dtype=np.uint64), seed) % np.uint64(parts)).astype(np.int32)
    return block_owners(rows, parts)


def _mixed(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: every bit of a number in every bit of the result."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64((seed + 1) % 2**64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
