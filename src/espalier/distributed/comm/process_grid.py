"""How many parts a network is cut into on so many ranks: replicas of it share the samples.

Parts send every activation that others read, for each sample; replicas add up every gradient, once
a step, whatever the batch. So few samples ask for parts and many for replicas; and weights that
one process cannot hold ask for parts in any case.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from espalier.errors import InputError
from espalier.network import Network

WEIGHT_BYTES = 8  # of a packed weight: its value and its column
_SAMPLES_A_REPLICA = 16  # fewer are not worth a replica of their own


def divisors(ranks: int) -> list[int]:
    """Numbers of parts that so many ranks allow, rising.

    >>> divisors(6)
    [1, 2, 3, 6]
    """
    return [parts for parts in range(1, ranks + 1) if ranks % parts == 0]


def parts_for_inference(
    network: Network, ranks: int, samples: int, memory: int | None = None
) -> int:
    """The fewest parts that fit in memory: replicas send nothing at all.

    Arguments:
        ranks: that share this machine's memory.
        memory: bytes for the weights of all ranks; None for half of what is free.

    >>> from espalier import radixnet
    >>> parts_for_inference(radixnet(1024, 4), ranks=4, samples=1000)
    1
    """
    if memory is None:
        memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    # Each replica holds all weights, whatever its parts.
    most_replicas = max(1, memory // max(1, WEIGHT_BYTES * network.connections))
    most_replicas = min(most_replicas, max(1, samples // _SAMPLES_A_REPLICA))
    return next(parts for parts in divisors(ranks) if ranks // parts <= most_replicas)


def training_words(words: int, nonzeros: int, parts: int, replicas: int, batch: int) -> int:
    """Words that all ranks send in one training step.

    Arguments:
        words: that a partition into so many parts sends for one sample, forward.
        nonzeros: of the network.
        batch: of all replicas together.

    >>> training_words(words=1000, nonzeros=32_000, parts=2, replicas=1, batch=8)
    16000
    """
    return 2 * batch * (words if parts > 1 else 0) + 2 * nonzeros * (replicas - 1)


def parts_for_training(words: Mapping[int, int], nonzeros: int, ranks: int, batch: int) -> int:
    """The number of parts that sends the fewest words in a step.

    Arguments:
        words: by number of parts, what such a partition sends for one sample, forward.

    Raises:
        InputError: a batch that no grid of these ranks shares out evenly.

    >>> parts_for_training({1: 0, 2: 1000}, nonzeros=32_000, ranks=2, batch=8)
    2
    >>> parts_for_training({1: 0, 2: 1000}, nonzeros=32_000, ranks=2, batch=64)
    1
    """
    fitting = [parts for parts in words if batch % (ranks // parts) == 0]
    if not fitting:
        raise InputError(f"batch is {batch}, which no grid of {ranks} ranks shares out evenly")
    return min(fitting, key=lambda n: training_words(words[n], nonzeros, n, ranks // n, batch))
