"""Commands on several ranks: how they start, share the work, and show one error for all."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import espalier as esp
from espalier.cli.console import BAD_INPUT, print_error, print_notice, progress
from espalier.distributed.comm import launch
from espalier.distributed.comm.transport import TransportName
from espalier.errors import EspalierError, InputError
from espalier.network import Network
from espalier.partitioning import Partition

if TYPE_CHECKING:
    from espalier.distributed.comm.world import World

END_OF_OPTIONS = "--"  # what follows are arguments, even if they begin with a dash
_LATER = 1.0  # seconds that other ranks wait, so that rank 0 shows an error that all have


@dataclass(frozen=True)
class Grid:
    """How ranks share the work, as given on the command line; None for what is not given."""

    parts: int | None
    partition: Path | None
    transport: TransportName | None
    patience: float | None

    def refuse(self) -> None:
        """Refuse options that only mean something on several ranks."""
        for name, value in vars(self).items():
            if value is not None:
                raise InputError(f"--{name} {value} is for several ranks; give --ranks too")

    def choose(self, network: Network, ranks: int, default: Callable[[], Partition]) -> Partition:
        """The partition on file, one of the parts that were asked for, or else the default.

        Raises:
            InputError: the file has another number of parts, or ranks cannot be shared out so.
        """
        if self.partition is not None:
            partition = esp.load_partition(self.partition)
            partition.check(network)
            if self.parts not in (None, partition.parts):
                raise InputError(
                    f"--parts {self.parts} beside a partition of {partition.parts} parts; leave "
                    "out --parts"
                )
            return partition
        if self.parts is None:
            return default()
        if ranks % self.parts:
            raise InputError(
                f"parts is {self.parts} with {ranks} ranks, wanted a divisor of the ranks"
            )
        return make_partition(network, self.parts)


def started_by_mpi() -> bool:
    """Whether this process is one of several ranks."""
    return launch.mpi_rank() is not None


def start(ranks: int, partition: Partition | None, threads: int | None) -> None:
    """Run this very command on so many ranks, and end as they end."""
    cores = len(os.sched_getaffinity(0))
    if ranks > cores:
        print_notice(f"{ranks} ranks share {cores} cores, which makes them slower, not faster")
    arguments = without_option(sys.argv[1:], "--ranks")
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        if partition is not None:
            path = Path(folder) / "partition"
            partition.save(path)
            arguments = with_option(arguments, "--partition", str(path))
        code = launch.launch(arguments, ranks, threads=threads)
    if code:
        raise typer.Exit(code)


def make_partition(network: Network, parts: int) -> Partition:
    """A hypergraph partition, or blocks of rows, with a warning, where mtkahypar is missing."""
    if parts == 1:
        return esp.partition(network, 1, "block")
    with progress(f"partitioning for {parts} parts", "layers") as update:
        try:
            return esp.partition(network, parts, progress=update)
        except esp.MissingExtraError as error:
            print_notice(f"{error}; blocks of rows are used, which send more words")
            return esp.partition(network, parts, "block")


@contextmanager
def on_grid(grid: Grid, make_network: Callable[[], Network]) -> Iterator[tuple[World, Partition]]:
    """The ranks of a run, and the partition that all of them use."""
    from espalier.distributed.comm.world import World

    partition = None if grid.partition is None else esp.load_partition(grid.partition)
    parts = grid.parts if partition is None else partition.parts
    with on_rank(lambda: World(parts, patience=grid.patience)) as world:
        yield world, partition or make_partition(make_network(), world.parts)


@contextmanager
def on_rank(make_world: Callable[[], World]) -> Iterator[World]:
    """The ranks of a run; an error names the rank and the step it came in, and ends them all."""
    rank, world = launch.mpi_rank() or 0, None
    try:
        world = make_world()
        yield world
    except (EspalierError, OSError, MemoryError) as error:
        if rank:
            time.sleep(_LATER)
        step = "" if world is None else f", in {world.timeout.step}"
        print_error(f"rank {rank}{step}: {error}")
        if world is not None and world.ranks > 1:
            world.comm.Abort(BAD_INPUT)
        raise typer.Exit(BAD_INPUT) from error


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value, as far as options go.

    >>> without_option(["infer", "net", "--ranks", "2", "--json"], "--ranks")
    ['infer', 'net', '--json']
    >>> without_option(["infer", "--ranks=2", "net"], "--ranks")
    ['infer', 'net']
    """
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == END_OF_OPTIONS:
            return [*kept, word, *words]
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept


def with_option(arguments: Sequence[str], option: str, value: str) -> list[str]:
    """Arguments with this value of an option alone.

    >>> with_option(["infer", "--", "-net"], "--partition", "p")
    ['infer', '--partition', 'p', '--', '-net']
    """
    kept = without_option(arguments, option)
    end = kept.index(END_OF_OPTIONS) if END_OF_OPTIONS in kept else len(kept)
    return [*kept[:end], option, value, *kept[end:]]
