"""What a partition will gain, told before the time is spent on it.

Rows at random send what the columns' degrees say. What a partition may send is read off a few
parts that are grown for the purpose: from a row at random, rows join that read the fewest new
columns, until a share is full. Equal rows and shared readers keep the columns of such a part few;
where there are none, it reads nearly as many as a part of random rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.errors import InputError
from espalier.network import Layer, Network
from espalier.partitioning.hypergraph import Hypergraph

LITTLE = 1.5  # times fewer words than random rows; below it a partition is hardly worth its time
GROWN = 2  # parts grown in each layer
STEPS = 64  # in which a part is grown, at most


@dataclass(frozen=True)
class Prediction:
    """Words of some layers, with random rows and as a partition may send them.

    Attributes:
        parts: how many.
        layers: the layers that were read.
        random_words: expected words of those layers, rows and inputs placed at random.
        cut_words: estimated words of those layers, partitioned one behind the other.
    """

    parts: int
    layers: tuple[int, ...]
    random_words: float
    cut_words: float

    @property
    def gain(self) -> float:
        """How many times fewer words the partition may send."""
        return self.random_words / self.cut_words if self.cut_words else float("inf")

    @property
    def has_structure(self) -> bool:
        """Whether a partition can gain much."""
        return self.gain >= LITTLE

    def __str__(self) -> str:
        if not self.random_words:
            return "nothing would be sent, whoever owns what"
        text = (
            f"about {self.cut_words / len(self.layers):,.0f} words a layer can be expected, "
            f"instead of {self.random_words / len(self.layers):,.0f} with random rows: "
            f"{self.gain:.3g} times fewer"
        )
        if self.has_structure:
            return text
        saved = max(0.0, 1.0 - 1.0 / self.gain)
        return (
            f"{text}; the network has little structure: no partition will save much more than "
            f"{saved:.0%}, and blocks or random rows take no time"
        )


def predict(network: Network, parts: int, *, seed: int = 0) -> Prediction:
    """Estimate the gain of a partition from three layers, at the quarters of a network.

    Arguments:
        network: at most three of its layers are read.
        parts: 2 or more.
        seed: of the rows that the estimate starts from.

    Raises:
        InputError: fewer than 2 parts.

    >>> from espalier import radixnet
    >>> predict(radixnet(1024, 120), 8).has_structure
    True
    """
    if parts < 2:
        raise InputError(f"parts is {parts}, wanted 2 or more: one part sends nothing")
    layers = tuple(sorted({len(network) * quarter // 4 for quarter in (1, 2, 3)}))
    random = cut = 0.0
    for index in layers:
        layer = network[index]
        expected = expected_random_words(layer, parts)
        random += expected
        cut += min(expected, expected_partition_words(layer, parts, seed))
    return Prediction(parts, layers, random, cut)


def expected_random_words(layer: Layer, parts: int) -> float:
    """Words that a layer sends when inputs and rows are placed at random.

    An input read by d rows reaches each of the other parts with probability 1 - (1 - 1/P)^d.

    >>> round(expected_random_words(Layer(np.ones((4, 2)), bias=0.0), parts=2), 3)
    1.875
    """
    readers = np.bincount(layer.column_indices, minlength=layer.inputs)
    return float(((parts - 1) * (1.0 - (1.0 - 1.0 / parts) ** readers)).sum())


def expected_partition_words(layer: Layer, parts: int, seed: int) -> float:
    """Words that a layer may send when its rows are partitioned and its inputs lie at random.

    The parts together read as many columns as the grown ones do on average; each of those is at
    home in one of P cases.
    """
    graph = Hypergraph.of(layer, None, parts)
    if not graph.nets:
        return 0.0
    net = np.repeat(np.arange(graph.nets), np.diff(graph.offsets))
    ones = np.ones(len(net), np.float64)
    reads = sp.csr_array((ones, (graph.pins, net)), shape=(graph.vertices, graph.nets))
    costs = graph.costs.astype(np.float64)
    starts = np.random.PCG64(seed).random_raw(GROWN) % np.uint64(graph.vertices)
    grown = [_columns_read(reads, costs, parts, int(start)) for start in starts]
    occupied = min(parts, graph.vertices)
    least = float(costs.sum())  # every column is read by some part
    return max(occupied * float(np.mean(grown)), least) * (1.0 - 1.0 / parts)


def _columns_read(
    reads: sp.csr_array[np.float64, tuple[int, int]],
    costs: NDArray[np.float64],
    parts: int,
    start: int,
) -> float:
    """Columns that a part reads which is grown from one vertex."""
    share = max(1, reads.shape[0] // parts)
    inside = np.zeros(reads.shape[0], bool)
    inside[start] = True
    read = np.zeros(reads.shape[1], bool)
    read[reads.indices[reads.indptr[start] : reads.indptr[start + 1]]] = True
    size = 1
    while size < share:
        joining = min(share - size, -(-share // STEPS))
        new = np.asarray(reads @ (costs * ~read))
        new[inside] = np.inf
        chosen = np.argpartition(new, joining - 1)[:joining]
        inside[chosen] = True
        read[reads[chosen].indices] = True
        size += joining
    return float(costs[read].sum())
