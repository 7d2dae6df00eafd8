"""What a partition will gain, told before the time is spent on it: a sample of two layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espalier.errors import InputError
from espalier.network import Layer, Network
from espalier.partitioning.cut import cut_layer
from espalier.partitioning.volume import layer_volume

LITTLE = 1.5  # times fewer words than random rows; below it a partition is hardly worth its time


@dataclass(frozen=True)
class Prediction:
    """Words of one layer, with random rows and with a cut, as a sample shows them.

    Attributes:
        parts: how many.
        layer: the layer that was sampled, with the one before it.
        random_words: expected words of that layer, rows and inputs placed at random.
        cut_words: words of that layer when it is cut behind the one before it.
    """

    parts: int
    layer: int
    random_words: float
    cut_words: int

    @property
    def gain(self) -> float:
        """How many times fewer words the cut sends."""
        return self.random_words / max(self.cut_words, 1)

    def __str__(self) -> str:
        text = (
            f"layer {self.layer}: {self.cut_words:,} words instead of {self.random_words:,.0f} "
            f"with random rows, {self.gain:.3g} times fewer"
        )
        if self.gain < LITTLE:
            share = 1.0 - 1.0 / max(self.gain, 1.0)
            text += (
                f"; the network has little structure: no partition will save much more than "
                f"{max(share, 0.0):.0%}, and random rows or blocks are as good"
            )
        return text


def predict(network: Network, parts: int, *, seed: int = 0) -> Prediction:
    """Cut a layer in the middle of a network, behind the one before it.

    Arguments:
        network: two of its layers are read.
        parts: 2 or more.

    Raises:
        InputError: fewer than 2 parts.
        MissingExtraError: mtkahypar is not installed.
    """
    if parts < 2:
        raise InputError(f"parts is {parts}, wanted 2 or more: one part sends nothing")
    index = len(network) // 2
    layer, before = network[index], None
    if index > 0:
        before = cut_layer(network[index - 1], None, parts, imbalance=None, seed=seed)
    else:
        before = (np.arange(layer.inputs) * parts // max(layer.inputs, 1)).astype(np.int32)
    rows = cut_layer(layer, before, parts, imbalance=None, seed=seed)
    words = layer_volume(layer, before, rows, parts).total_words
    return Prediction(parts, index, expected_random_words(layer, parts), words)


def expected_random_words(layer: Layer, parts: int) -> float:
    """Words that a layer sends when inputs and rows are placed at random.

    An input read by d rows reaches each of the other parts with probability 1 - (1 - 1/P)^d.

    >>> round(expected_random_words(Layer(np.ones((4, 2)), bias=0.0), parts=2), 3)
    1.875
    """
    readers = np.bincount(layer.column_indices, minlength=layer.inputs)
    return float(((parts - 1) * (1.0 - (1.0 - 1.0 / parts) ** readers)).sum())
