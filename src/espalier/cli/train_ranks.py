"""`espalier train --ranks P`: the epochs of a network of sparse layers on several processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import espalier as esp
from espalier.cli import format, ranks
from espalier.cli.console import print_facts, print_json, print_nothing, print_notice
from espalier.distributed.comm import launch
from espalier.distributed.comm.process_grid import divisors, parts_for_training
from espalier.errors import InputError
from espalier.partitioning import Partition, layer_volume

if TYPE_CHECKING:
    from espalier.distributed.training import Epoch
    from espalier.training import RunDirectory, Settings


def start(
    settings: Settings, directory: RunDirectory, resume: bool, grid: ranks.Grid, wanted: int
) -> None:
    """Choose the grid, partition the network where it has parts, and start the ranks."""
    net = _network(settings, directory, resume)
    partition = grid.choose(net, wanted, lambda: _fewest_words(net, wanted, settings.batch))
    ranks.start(wanted, partition, settings.threads)


def run(
    settings: Settings, directory: RunDirectory, resume: bool, grid: ranks.Grid, as_json: bool
) -> None:
    """This rank's part of the training; rank 0 prints."""
    from espalier.distributed import training

    with ranks.on_grid(grid, lambda: _network(settings, directory, resume)) as (world, partition):
        first = world.rank == 0

        def on_epoch(epoch: Epoch) -> None:
            if first:
                _print_epoch(epoch, settings.epochs)

        epochs = training.train(
            settings,
            partition.owners,
            world,
            directory.path,
            resume=resume,
            transport=grid.transport or "auto",
            on_epoch=on_epoch,
            on_notice=print_notice if first else print_nothing,
        )
        if first:
            _print_end(settings, directory.model, partition, world.replicas, epochs, as_json)


def with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """The settings given on the command line, with the defaults of a training on ranks."""
    settings = {"method": "dense", "model": "radixnet:1024x6", **given}
    if not settings["model"].startswith("radixnet:"):
        raise InputError(
            f"--model is {settings['model']}, wanted radixnet:NEURONSxLAYERS: on several ranks the "
            "rows of sparse layers are shared out; leave out --ranks for other models"
        )
    return settings


def _network(settings: Settings, directory: RunDirectory, resume: bool) -> esp.Network:
    """The network to partition; a training that may not run is refused before that."""
    from espalier.distributed.training import network_to_cut

    if not launch.mpi_rank():  # one process asks, and alone: it holds the directory while it does
        directory.check(resume=resume)
        if resume:
            directory.check_settings(settings)
    return network_to_cut(settings)


def _fewest_words(net: esp.Network, wanted: int, batch: int) -> Partition:
    """The grid that sends the fewest words in a step, each number of parts partitioned."""
    made = {parts: ranks.make_partition(net, parts) for parts in divisors(wanted)}
    words = {parts: _words(net, partition) for parts, partition in made.items()}
    return made[parts_for_training(words, net.connections, wanted, batch)]


def _words(net: esp.Network, partition: Partition) -> int:
    """Words of one sample forward; inputs are not counted, since every rank has all of them."""
    words = 0
    for index in range(1, len(net)):
        before, after = partition.owners[index], partition.owners[index + 1]
        words += layer_volume(net[index], before, after, partition.parts).total_words
    return words


def _print_epoch(epoch: Epoch, epochs: int) -> None:
    print_notice(
        f"epoch {epoch.epoch} of {epochs}: loss {epoch.loss:.4f}, test accuracy "
        f"{epoch.test_accuracy:.2%}, lr {epoch.lr:.3g}, {format.seconds(epoch.seconds)}"
    )


def _print_end(
    settings: Settings,
    model: Path,
    partition: Partition,
    replicas: int,
    epochs: list[Epoch],
    as_json: bool,
) -> None:
    last = epochs[-1]
    if as_json:
        print_json(
            {
                "settings": settings.to_json(),
                "parts": partition.parts,
                "replicas": replicas,
                "epochs": [vars(epoch) for epoch in epochs],
                "model": str(model),
            }
        )
        return
    print_facts(
        f"{settings.model} on {settings.data}",
        {
            "grid": format.grid(replicas, partition.parts),
            "epochs": format.count(last.epoch),
            "test error": f"{1.0 - last.test_accuracy:.2%}",
            "an epoch": format.seconds(sum(e.seconds for e in epochs) / len(epochs)),
            "words a rank and epoch": format.count(last.words),
            "model": str(model),
        },
    )
