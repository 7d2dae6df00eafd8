"""Commands on several ranks: who starts them, what they share, and whose error is shown."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import espalier as esp
from espalier.cli.console import BAD_INPUT, print_error, print_notice, progress
from espalier.distributed.comm import launch
from espalier.errors import EspalierError, InputError
from espalier.network import Network
from espalier.partitioning import Partition

if TYPE_CHECKING:
    from espalier.distributed.comm.world import World

Ranks = Annotated[
    int | None,
    typer.Option(min=1, help="Processes to run on, started by mpiexec; one by default."),
]
Parts = Annotated[
    int | None,
    typer.Option(
        min=1, help="Parts of the network; replicas of it share the samples. Chosen by default."
    ),
]
PartitionFile = Annotated[
    Path | None,
    typer.Option("--partition", help="What `espalier partition` wrote; made anew by default."),
]
TransportOption = Annotated[
    Literal["auto", "messages", "shared"] | None,
    typer.Option(
        help="How parts exchange: by MPI's messages, or by shared memory on one machine (auto: "
        "where it can be)."
    ),
]
PatienceOption = Annotated[
    float | None,
    typer.Option(help="Seconds to wait for another rank without progress; 60 by default."),
]

END_OF_OPTIONS = "--"  # what follows are arguments, however they look
_LATER = 1.0  # seconds by which other ranks leave it to rank 0 to show an error that all have


def started_by_mpi() -> bool:
    """Whether this process is one of several ranks."""
    return launch.mpi_rank() is not None


def start(ranks: int, partition: Partition | None, threads: int | None) -> None:
    """Run this very command on so many ranks, and end as they end."""
    cores = len(os.sched_getaffinity(0))
    if ranks > cores:
        print_notice(f"{ranks} ranks take turns on {cores} cores: they are slow, not fast")
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
    """A hypergraph partition, or blocks with a word of warning where mtkahypar is missing."""
    with progress(f"partitioning for {parts} parts", "layers") as update:
        try:
            return esp.partition(network, parts, progress=update)
        except esp.MissingExtraError as error:
            print_notice(f"{error}; blocks of rows are used, which send more words")
            return esp.partition(network, parts, "block")


def find_partition(file: Path | None, network: Network, parts: int) -> Partition:
    """The partition of a file, or a new one; a single part needs none."""
    if file is None:
        method: Literal["hypergraph", "block"] = "hypergraph" if parts > 1 else "block"
        return make_partition(network, parts) if parts > 1 else esp.partition(network, 1, method)
    partition = esp.load_partition(file)
    partition.check(network)
    return partition


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


def check_parts(parts: int | None, partition: Partition) -> None:
    """Refuse a number of parts beside a partition of another."""
    if parts not in (None, partition.parts):
        raise InputError(
            f"--parts {parts} beside a partition of {partition.parts} parts; leave out --parts"
        )


def refuse_without_ranks(**given: object) -> None:
    """Options that only mean something on several ranks."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name} {value} is for several ranks; give --ranks too")


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
