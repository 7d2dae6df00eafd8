"""One part's program: its rows of every layer, packed, with all that it exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.index_map import IndexMap
from espalier.distributed.comm.transport import Channel, Transport
from espalier.distributed.comm.world import World
from espalier.distributed.inference.local_layer import local_layer
from espalier.inference.cost import TILES, CostModel
from espalier.inference.options import Options
from espalier.inference.program import LAYERS_TO_CHOOSE
from espalier.inference.row_blocks import choose_row_blocks, seconds_by_tile
from espalier.kernels import InputMajor, PackedLayer, pack, pack_by_input
from espalier.network import Layer, Network
from espalier.progress import Progress
from espalier.simplify.invariants import EarlyExits, Invariants, find_invariants

MICROBATCH_BYTES = 4 << 20  # of the activations that a part holds before one layer
MICROBATCH_SAMPLES = (128, 4096)  # least and most


@dataclass(frozen=True)
class LocalStep:
    """One layer of a part: its packed rows, the neurons it sees, and how it gets them.

    The first layer has no channel: every rank has all samples, and its columns are the inputs.
    """

    packed: PackedLayer
    width: int
    channel: Channel | None


@dataclass(frozen=True)
class LocalProgram:
    """What a run of one part follows.

    Attributes:
        network: the whole one.
        exchanges: before each layer.
        by_input: weights of the first layer sorted by input, for sparse samples.
        tile: samples side by side in a panel, the same on all ranks.
        exits: where samples may stop, by the rows of all parts.
        unbounded: whether some layer has no clip, so that numbers may overflow.
        microbatch: samples that travel together, the same on all ranks.
        rows: int64, the outputs of the network that this part computes.
        units: int32, which computed neuron each of `rows` is.
    """

    network: Network
    exchanges: list[Exchange]
    steps: list[LocalStep]
    by_input: InputMajor
    tile: int
    exits: EarlyExits
    unbounded: bool
    microbatch: int
    rows: NDArray[np.int64]
    units: NDArray[np.int32]


def build_together(
    network: Network,
    owners: Sequence[NDArray[np.int32]],
    world: World,
    transport: Transport,
    options: Options,
    progress: Progress | None = None,
) -> LocalProgram:
    """The program of this rank's part; all ranks build theirs together, from the same arguments.

    Arguments:
        progress: called as ``progress(done, total)`` layers.
    """
    layers, exchanges, last = _local_layers(network, owners, world, options.merge, progress)
    tile, cost = _choose_tile(layers, world, options.group)
    steps = []
    for index, (layer, exchange) in enumerate(zip(layers, exchanges, strict=True)):
        row_blocks, _ = choose_row_blocks(layer, cost, tile, options.group)
        exchanged = index > 0 and world.parts > 1
        channel = transport.channel(exchange) if exchanged else None
        steps.append(LocalStep(pack(layer, row_blocks), exchange.width, channel))
    rows = last.neurons(world.part)
    return LocalProgram(
        network=network,
        exchanges=exchanges,
        steps=steps,
        by_input=pack_by_input(layers[0]),
        tile=tile,
        exits=EarlyExits.of(_agree_on_invariants(layers, world), options.fixed_point),
        unbounded=any(layer.clip is None for layer in layers),
        microbatch=_choose_microbatch(steps, tile, world),
        rows=rows,
        units=last.place[rows],
    )


def _local_layers(
    network: Network,
    owners: Sequence[NDArray[np.int32]],
    world: World,
    merge: bool,
    progress: Progress | None,
) -> tuple[list[Layer], list[Exchange], IndexMap]:
    """This part's rows of every layer, what it exchanges before each, and where the outputs are."""
    part, count = world.part, len(network)
    layers: list[Layer] = []
    exchanges: list[Exchange] = []
    index_map = IndexMap.of(owners[0], world.parts)
    for index in range(count):
        world.timeout.enter(f"preparing layer {index}")
        rows = network.rows(index, np.flatnonzero(owners[index + 1] == part))
        if index == 0:  # every rank has all inputs
            index_map = IndexMap.of(np.full(rows.inputs, part, np.int32), world.parts)
        local = local_layer(rows, index_map, part, merge=merge)
        gives = tuple(world.swap(local.takes))
        exchanges.append(Exchange(part, int(index_map.counts[part]), gives, local.takes))
        units = world.gather(local.units, world.within) if merge else None
        index_map = IndexMap.of(owners[index + 1], world.parts, units)
        layers.append(local.layer)
        if progress is not None:
            progress(index + 1, count)
    return layers, exchanges, index_map


def _choose_tile(layers: list[Layer], world: World, group: bool) -> tuple[int, CostModel]:
    """The tile that is cheapest over all ranks, by the model of this machine."""
    if world.rank == 0:
        CostModel.load()  # measured once, and remembered for the others
    world.barrier()
    cost = CostModel.load()
    seconds = seconds_by_tile(layers[:LAYERS_TO_CHOOSE], cost, group)
    totals = np.sum(world.gather(np.array(seconds)), axis=0)
    return TILES[int(np.argmin(totals))], cost


def _choose_microbatch(steps: list[LocalStep], tile: int, world: World) -> int:
    """Whole panels of samples whose activations stay near the cache on every rank."""
    widest = world.largest([max(step.width for step in steps[1:] or steps)])[0]
    least, most = MICROBATCH_SAMPLES
    samples = min(max(MICROBATCH_BYTES // (4 * max(widest, 1)), least), most)
    return samples // tile * tile


def _agree_on_invariants(layers: list[Layer], world: World) -> list[Invariants]:
    """What holds for the rows of every part holds for the layer.

    A part without rows in a layer proves nothing and disproves nothing.
    """
    found = [find_invariants(layer) for layer in layers]
    failed = np.array(
        [
            (
                not each.zero_stays_zero,
                layer.outputs > 0 and not each.saturated_stays_saturated,
            )
            for each, layer in zip(found, layers, strict=True)
        ],
        np.uint8,
    )
    world.any_bits(failed.reshape(-1))
    return [
        Invariants(not zero, not saturated, each.clip)
        for (zero, saturated), each in zip(failed.tolist(), found, strict=True)
    ]
