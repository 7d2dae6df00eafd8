"""partition(): the methods, layer by layer, each layer behind the one before."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from espalier.errors import InputError
from espalier.network import Network
from espalier.partitioning.balance import assign_inputs
from espalier.partitioning.baselines import baseline_owners
from espalier.partitioning.hypergraph import Owners, readers_of
from espalier.partitioning.partition import Partition, checked_owners
from espalier.partitioning.partition_layer import partition_layer
from espalier.partitioning.volume import layer_volume
from espalier.progress import Progress

Method = Literal["hypergraph", "random", "hash", "block"]
METHODS: tuple[Method, ...] = get_args(Method)


def partition(
    network: Network,
    parts: int,
    method: Method = "hypergraph",
    *,
    inputs: ArrayLike | None = None,
    imbalance: float | None = None,
    sweeps: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Partition:
    """Assign the neurons of a network to parts.

    Arguments:
        network: lazy ones are read layer by layer.
        parts: 1 or more.
        method: ``"hypergraph"``: the cut of every layer, which is the words sent, is made small,
            given where its inputs are; ``"random"`` rows, as many for each part; ``"hash"``: rows
            by a hash of their number; ``"block"``: rows as they stand, in equal blocks.
        inputs: int ``[inputs]``, the part of every input, where that is given; None leaves it open.
        imbalance: how much more than its share of a layer's weights a part may have, 0.03 for 3 %;
            None for as even as whole rows allow. For ``"hypergraph"`` alone.
        sweeps: how often every layer is refined, with both its neighbours as they are; keeps what
            lowers the words. Each reads every inner layer twice; ``"hypergraph"`` alone.
        seed: of ``"random"``, ``"hash"`` and ``"hypergraph"``.
        progress: called as ``progress(done, total)`` layers.

    Returns:
        The same partition for the same arguments, on any number of threads.

    Raises:
        InputError: an argument out of range.
        MissingExtraError: ``"hypergraph"`` without mtkahypar.

    Source: G. V. Demirci and H. Ferhatosmanoglu, "Partitioning Sparse Deep Neural Networks for
    Scalable Training and Inference", ICS 2021.

    >>> from espalier import radixnet
    >>> parts = partition(radixnet(256, layers=4), 4, "block")
    >>> [len(owners) for owners in parts.owners]
    [256, 256, 256, 256, 256]
    """
    tell = progress or (lambda done, total: None)
    parts, sweeps, seed = checked(network, parts, method, imbalance, sweeps, seed)
    given = None if inputs is None else _checked_inputs(inputs, network.inputs, parts)
    if method == "hypergraph" and parts > 1:
        owners = _partition_layers(network, parts, given, imbalance, seed, sweeps, tell)
    else:
        if given is None:
            given = baseline_owners(network.inputs, parts, method, seed, 0)
        owners = [given]
        for index in range(len(network)):
            rows = network.shape(index)[0]
            owners.append(baseline_owners(rows, parts, method, seed, index + 1))
            tell(index + 1, len(network))
    return Partition(parts, owners, method, seed)


def _partition_layers(
    network: Network,
    parts: int,
    inputs: Owners | None,
    imbalance: float | None,
    seed: int,
    sweeps: int,
    progress: Progress,
) -> list[Owners]:
    owners: list[Owners] = []
    before = inputs
    total = len(network) * (1 + sweeps)
    for index, layer in enumerate(network):
        rows = partition_layer(layer, before, parts, imbalance=imbalance, seed=seed)
        if index == 0:
            owners.append(assign_inputs(layer, rows, parts) if before is None else before)
        owners.append(rows)
        before = rows
        progress(index + 1, total)
    for sweep in range(sweeps):
        refined = False
        for index in range(len(network) - 1):
            refined |= _refine_layer(network, owners, index, parts, imbalance, seed)
            progress(len(network) * (1 + sweep) + index + 1, total)
        if not refined:
            break
    progress(total, total)
    return owners


def _refine_layer(
    network: Network,
    owners: list[Owners],
    index: int,
    parts: int,
    imbalance: float | None,
    seed: int,
) -> bool:
    """Partition a layer again with both its neighbours as they are.

    Arguments:
        owners: of inputs and rows; changed where that lowers the words of the layer and the next.

    Returns:
        Whether it did.
    """
    layer, following = network[index], network[index + 1]
    before, rows, after = owners[index : index + 3]
    reads = readers_of(following, after, parts)
    again = partition_layer(layer, before, parts, imbalance=imbalance, seed=seed, reads=reads)

    def words(rows: Owners) -> int:
        into = layer_volume(layer, before, rows, parts).total_words
        return into + layer_volume(following, rows, after, parts).total_words

    if words(again) >= words(rows):
        return False
    owners[index + 1] = again
    return True


def checked(
    network: Any, parts: Any, method: Any, imbalance: Any, sweeps: Any, seed: Any
) -> tuple[int, int, int]:
    """Parts, sweeps and seed of `partition`, once its arguments are known to be fine.

    Raises:
        InputError: one is not.
    """
    if not isinstance(network, Network):
        raise InputError(f"network is a {type(network).__name__}, wanted espalier.Network")
    if method not in METHODS:
        raise InputError(f"method is {method!r}, wanted one of {', '.join(METHODS)}")
    for name, value, least in (("parts", parts, 1), ("sweeps", sweeps, 0), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} is {value!r}, wanted a whole number from {least} up")
    real = isinstance(imbalance, int | float | np.number) and not isinstance(imbalance, bool)
    if imbalance is not None and not (real and 0.0 <= imbalance < float("inf")):
        raise InputError(f"imbalance is {imbalance!r}, wanted 0 or more, such as 0.03, or None")
    return int(parts), int(sweeps), int(seed)


def _checked_inputs(inputs: ArrayLike, width: int, parts: int) -> Owners:
    given = np.asarray(inputs)
    if given.shape != (width,) or (given.dtype.kind not in "iu" and width):
        raise InputError(
            f"inputs is {given.dtype} {list(given.shape)}, wanted the part of each of the "
            f"network's {width} inputs"
        )
    return checked_owners("inputs", given, parts)
