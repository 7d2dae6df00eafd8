"""What is proven about a layer before anything runs: the licence for every shortcut.

A shortcut that depends on an invariant is taken only where it holds for *all* layers that follow,
so each is kept per layer and combined from the last one backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.network import Layer

UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True)
class Invariants:
    """Properties of one layer.

    Attributes:
        zero_stays_zero: a sample that is all zero is all zero afterwards.
        saturated_stays_saturated: a sample whose neurons all equal ``clip`` is the same afterwards.
        clip: the layer's clip, None without one.
    """

    zero_stays_zero: bool
    saturated_stays_saturated: bool
    clip: float | None


def find_invariants(layer: Layer) -> Invariants:
    """Check both properties on the layer's own numbers.

    >>> find_invariants(Layer([[1.0, 1.0]], bias=-0.5, clip=2.0))
    Invariants(zero_stays_zero=True, saturated_stays_saturated=True, clip=2.0)
    """
    return Invariants(_zero_stays_zero(layer), _saturated_stays_saturated(layer), layer.clip)


@dataclass(frozen=True)
class EarlyExits:
    """Behind which layers a sample's outputs are known, so that it may stop there.

    Attributes:
        zero: bool ``[layers]``, a sample that is all zero behind the layer is so to the end.
        saturated: bool ``[layers]``, likewise a sample that is full of `clip`.
        clip: the last layer's.
    """

    zero: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    clip: float | None

    @classmethod
    def of(cls, layers: Sequence[Invariants], fixed_point: bool = True) -> EarlyExits:
        """Those that the invariants of all layers allow.

        Arguments:
            fixed_point: whether saturated samples may stop.
        """
        clip = layers[-1].clip
        dead = holds_from([layer.zero_stays_zero for layer in layers])
        full = holds_from(
            [layer.saturated_stays_saturated and layer.clip == clip for layer in layers]
        )
        return cls(dead[1:], full[1:] & fixed_point & (clip is not None), clip)


def holds_from(flags: list[bool]) -> NDArray[np.bool_]:
    """``result[l]``: all flags from ``l`` on hold; one more entry, True, for the end.

    >>> holds_from([True, False, True]).tolist()
    [False, False, True, True]
    """
    return np.append(np.logical_and.accumulate(np.array(flags, bool)[::-1])[::-1], True)


def never_positive(layer: Layer) -> NDArray[np.bool_]:
    """Rows of a ReLU layer that are 0 for every sample without negative entries."""
    if layer.activation != "relu":
        return np.zeros(layer.outputs, bool)
    positive = np.zeros(layer.nonzeros + 1, np.int64)
    np.cumsum(layer.values > 0.0, out=positive[1:])
    has_positive = np.diff(positive[layer.row_offsets]) > 0
    return ~has_positive & (layer.bias <= 0.0)


def _zero_stays_zero(layer: Layer) -> bool:
    if layer.activation == "relu":
        return bool((layer.bias <= 0.0).all())
    return not layer.bias.any()


def _saturated_stays_saturated(layer: Layer) -> bool:
    """Rounding cannot pull a sum below ``clip``, whatever the order of its additions."""
    if layer.clip is None or not layer.outputs:
        return False
    exact = layer.values.astype(np.float64) * layer.clip
    sums = _row_sums(layer, exact)
    size = _row_sums(layer, np.abs(exact)) + np.abs(layer.bias)
    terms = np.diff(layer.row_offsets) + 2
    rounding = 2.0 * terms * UNIT_ROUNDOFF * size
    return bool((sums + layer.bias - rounding >= layer.clip).all())


def _row_sums(layer: Layer, terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """One sum per row of numbers that lie like the layer's values."""
    sums = np.zeros(layer.outputs)
    filled = np.flatnonzero(np.diff(layer.row_offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(terms, layer.row_offsets[filled])
    return sums
