"""Random numbers that are the same on every machine and under every numpy version.

numpy promises stable bits from a seeded bit generator but not from the methods of `Generator`,
so everything here is built from the raw 64-bit words.
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from espalier.errors import InputError


class Rng:
    """A stream of random numbers named by a seed and any further keys.

    Arguments:
        seed: a whole number from 0 on.
        keys: whole numbers from 0 on that tell this stream from others of the same seed.

    Raises:
        InputError: ``seed`` is not a whole number from 0 on.

    >>> int(Rng(0, 3).words(1)[0]) == int(Rng(0, 3).words(1)[0])
    True
    """

    def __init__(self, seed: int, *keys: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(checked_seed(seed), spawn_key=keys))

    def words(self, *shape: int) -> NDArray[np.uint64]:
        """Raw 64-bit words."""
        size = int(np.prod(shape))
        return np.asarray(self._bits.random_raw(size), dtype=np.uint64).reshape(shape)

    def uniform(self, low: float, high: float, *shape: int) -> NDArray[np.float64]:
        """Numbers spread evenly over ``low <= x < high``."""
        fractions = (self.words(*shape) >> np.uint64(11)) * 2.0**-53
        return np.asarray(low + (high - low) * fractions, dtype=np.float64)

    def below(self, bound: int, *shape: int) -> NDArray[np.int32]:
        """Whole numbers ``0 <= i < bound``, for ``bound`` up to 2**31."""
        high_halves = self.words(*shape) >> np.uint64(32)
        return (high_halves * np.uint64(bound) >> np.uint64(32)).astype(np.int32)

    def permutation(self, length: int) -> NDArray[np.int32]:
        """The numbers ``0 ... length - 1`` in random order."""
        return np.argsort(self.words(length), kind="stable").astype(np.int32)


def checked_seed(seed: int) -> int:
    """``seed`` as a Python int, or an InputError."""
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if value < 0:
        raise InputError(f"seed is {seed!r}, wanted a whole number from 0 on")
    return value


def checked_count(name: str, value: int, least: int = 1) -> int:
    """``value`` as a Python int of at least ``least``, or an InputError naming the argument."""
    try:
        count = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}, wanted a whole number") from None
    if count < least:
        raise InputError(f"{name} is {count}, wanted at least {least}")
    return count
