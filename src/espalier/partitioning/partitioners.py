"""partition(): the ways to share out rows, layer by layer, each layer behind the one before."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from espalier.errors import InputError
from espalier.network import Network
from espalier.partitioning.balance import place_inputs
from espalier.partitioning.baselines import share_out
from espalier.partitioning.cut import cut_layer
from espalier.partitioning.partition import Partition
from espalier.partitioning.refine import sweep_layers
from espalier.progress import Progress

Method = Literal["hypergraph", "random", "hash", "block"]
METHODS: tuple[Method, ...] = get_args(Method)
Owners = NDArray[np.int32]


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
    """Share out the neurons of a network among parts.

    Arguments:
        network: lazy ones are read layer by layer.
        parts: 1 or more.
        method: ``"hypergraph"``: every layer is cut for the fewest words sent, given where its
            inputs are; ``"random"`` rows, as many for each part; ``"hash"``: rows by a hash of
            their number; ``"block"``: rows as they stand, cut into equal blocks.
        inputs: int ``[inputs]``, the part of every input, where that is given; None leaves it open.
        imbalance: how much more than its share of a layer's weights a part may have, 0.03 for 3 %;
            None for as even as whole rows allow. For ``"hypergraph"`` alone.
        sweeps: how often every layer is cut again with both its neighbours as they are; keeps what
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
    parts, sweeps, seed = checked(network, parts, method, imbalance, sweeps, seed)
    given = None if inputs is None else _checked_inputs(inputs, network.inputs, parts)
    if method == "hypergraph" and parts > 1:
        owners = _cut_layers(network, parts, given, imbalance, seed, sweeps, progress)
    else:
        owners = [share_out(network.inputs, parts, method, seed, 0) if given is None else given]
        for index in range(len(network)):
            rows = network.shape(index)[0]
            owners.append(share_out(rows, parts, method, seed, index + 1))
            if progress is not None:
                progress(index + 1, len(network))
    return Partition(parts, owners, method, seed)


def _cut_layers(
    network: Network,
    parts: int,
    inputs: Owners | None,
    imbalance: float | None,
    seed: int,
    sweeps: int,
    progress: Progress | None,
) -> list[Owners]:
    owners: list[Owners] = []
    before = inputs
    total = len(network) * (1 + sweeps)
    for index, layer in enumerate(network):
        rows = cut_layer(layer, before, parts, imbalance=imbalance, seed=seed)
        if index == 0:
            owners.append(place_inputs(layer, rows, parts) if before is None else before)
        owners.append(rows)
        before = rows
        if progress is not None:
            progress(index + 1, total)
    for sweep in range(sweeps):
        done = len(network) * (1 + sweep)

        def step(layers: int, _: int, done: int = done) -> None:
            if progress is not None:
                progress(done + layers, total)

        if not sweep_layers(network, owners, parts, imbalance=imbalance, seed=seed, progress=step):
            break
    if progress is not None:
        progress(total, total)
    return owners


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
    if width and not 0 <= given.min() <= given.max() < parts:
        raise InputError(
            f"inputs holds parts {given.min()} to {given.max()}, wanted 0 to {parts - 1}"
        )
    return given.astype(np.int32)
