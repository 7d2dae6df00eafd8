"""What a partition of a layer makes its parts send: counted anew, however it was made.

Source: the costs of G. V. Demirci and H. Ferhatosmanoglu, "Partitioning Sparse Deep Neural
Networks for Scalable Training and Inference", ICS 2021: the owner of an input sends it to each
other part that has a row reading it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.network import Layer


@dataclass(frozen=True)
class Volume:
    """The forward pass of one layer over some parts; backward sends the same the other way.

    Attributes:
        words: int64 ``[parts, parts]``: activations of one sample that the first sends the second.
        nonzeros: int64 ``[parts]``: weights of each part's rows.
    """

    words: NDArray[np.int64]
    nonzeros: NDArray[np.int64]

    @property
    def total_words(self) -> int:
        """Words sent by all parts."""
        return int(self.words.sum())

    @property
    def most_sent(self) -> int:
        """Words sent by the part that sends most."""
        return int(self.words.sum(axis=1).max(initial=0))

    @property
    def most_received(self) -> int:
        """Words received by the part that receives most."""
        return int(self.words.sum(axis=0).max(initial=0))

    @property
    def total_messages(self) -> int:
        """Pairs of parts of which the first sends the second something."""
        return int(np.count_nonzero(self.words))

    @property
    def most_messages(self) -> int:
        """Parts to which the part with most of them sends something."""
        return int(np.count_nonzero(self.words, axis=1).max(initial=0))

    @property
    def imbalance(self) -> float:
        """How many more weights the largest part has than the mean, as a part of that."""
        mean = self.nonzeros.mean() if len(self.nonzeros) else 0.0
        return float(self.nonzeros.max() / mean - 1.0) if mean else 0.0


def layer_volume(
    layer: Layer, owners_in: NDArray[np.int32], owners_out: NDArray[np.int32], parts: int
) -> Volume:
    """Count what one layer makes the parts send.

    Arguments:
        layer: ``[outputs, inputs]``.
        owners_in: int32 ``[inputs]``, the part of every input.
        owners_out: int32 ``[outputs]``, the part of every row.
        parts: how many there are.

    >>> layer = Layer([[1.0, 1.0], [1.0, 0.0]], bias=0.0)
    >>> layer_volume(layer, np.array([0, 1]), np.array([0, 1]), parts=2).words.tolist()
    [[0, 1], [1, 0]]
    """
    counts = np.diff(layer.row_offsets)
    readers = np.repeat(np.asarray(owners_out, np.int64), counts)
    pairs = np.unique(layer.column_indices.astype(np.int64) * parts + readers)
    columns, reader = np.divmod(pairs, parts)
    owner = np.asarray(owners_in, np.int64)[columns]
    sent = owner != reader
    words = np.bincount(owner[sent] * parts + reader[sent], minlength=parts * parts)
    nonzeros = np.bincount(np.asarray(owners_out, np.int64), counts, minlength=parts)
    return Volume(words.reshape(parts, parts).astype(np.int64), nonzeros.astype(np.int64))
