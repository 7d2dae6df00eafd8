"""Sweeps: every layer cut again with both its neighbours as they are, to mend what greed missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.network import Network
from espalier.partitioning.cut import cut_layer
from espalier.partitioning.hypergraph import readers_of
from espalier.partitioning.volume import layer_volume
from espalier.progress import Progress

Owners = NDArray[np.int32]


def sweep_layers(
    network: Network,
    owners: list[Owners],
    parts: int,
    *,
    imbalance: float | None,
    seed: int,
    progress: Progress,
) -> bool:
    """One sweep over all layers but the last.

    Arguments:
        owners: of inputs and rows; changed where that lowers the words of two layers together.

    Returns:
        Whether anything became better.
    """
    better = False
    last = len(network) - 1
    for index in range(last):
        layer, following = network[index], network[index + 1]
        before, rows, after = owners[index : index + 3]
        reads = readers_of(following, after, parts)
        again = cut_layer(layer, before, parts, imbalance=imbalance, seed=seed, reads=reads)
        old = layer_volume(layer, before, rows, parts).total_words
        old += layer_volume(following, rows, after, parts).total_words
        new = layer_volume(layer, before, again, parts).total_words
        new += layer_volume(following, again, after, parts).total_words
        if new < old:
            owners[index + 1] = again
            better = True
        progress(index + 1, last + 1)
    return better
