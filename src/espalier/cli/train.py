"""`espalier train`: a network from data to the compact file, with live progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from espalier.cli import train_ranks
from espalier.cli.console import FAILED, print_json, print_notice, progress
from espalier.cli.options import (
    Json,
    PartitionFile,
    Parts,
    Patience,
    Ranks,
    Transport,
)
from espalier.cli.ranks import Grid, started_by_mpi
from espalier.cli.training_table import print_epoch, print_result
from espalier.errors import InputError

if TYPE_CHECKING:
    from espalier.training import RunDirectory, Settings


def train(
    data: Annotated[
        str | None,
        typer.Option(help="A folder of IDX files, or digits, scikit-learn's, the default."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp:300-100, lenet5, vgg-small[:WIDTH], radixnet:1024x6, resnet34, resnet50 or "
            "fixup-resnet50; mlp:300-100 by default. With --ranks a radixnet, by default "
            "radixnet:1024x6."
        ),
    ] = None,
    method: Annotated[
        Literal["fssl", "magnitude", "rigl", "dense"] | None,
        typer.Option(help="How zeros are made; fssl by default."),
    ] = None,
    target_time: Annotated[
        float | None,
        typer.Option(help="Part of the dense network's time to end with; 0.3 by default for fssl."),
    ] = None,
    target_zeros: Annotated[
        float | None,
        typer.Option(
            help="Part of the weights that end as zeros; 0.9 by default for magnitude, rigl."
        ),
    ] = None,
    target_units: Annotated[
        float | None,
        typer.Option(help="Part of the neurons, filters and pixels to end with."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of all phases together; 40 by default.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images of a step; 128 by default.")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate; by default the model's.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of first weights, order of images and dropout; 0 by default."),
    ] = None,
    shift: Annotated[
        int | None,
        typer.Option(min=0, help="Pixels by which images are moved at random; 0 by default."),
    ] = None,
    input_dropout: Annotated[
        float | None,
        typer.Option(help="Part of the pixels hidden at random; by default the model's."),
    ] = None,
    distill: Annotated[
        float | None,
        typer.Option(
            help="Weight of the dense network's answers against the labels; 0.5 by default."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to use; by default PyTorch's.")
    ] = None,
    time: Annotated[
        Literal["measured", "macs"] | None,
        typer.Option(help="Where predicted times come from; measured by default."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the training; training-DATA-MODEL-METHOD-SEED by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the training in --output stopped.")
    ] = False,
    ranks: Ranks = None,
    parts: Parts = None,
    partition: PartitionFile = None,
    transport: Transport = None,
    patience: Patience = None,
    as_json: Json = False,
) -> None:
    """Train a network, make it sparse, compact it and print what was gained.

    With `--ranks P`, on P processes: the sparse layers of a radixnet are trained. Parts share its
    rows and replicas share each batch; by default as many of each as send the fewest words.

    The folder gets metrics.jsonl, a checkpoint of each epoch and, at the end, model.safetensors.
    A training that was stopped goes on with `--output FOLDER --resume`, to the same bits. The
    exit code is 1 where the target was missed; the model is saved all the same.
    """
    given = {
        "data": data,
        "model": model,
        "method": method,
        "target_time": target_time,
        "target_zeros": target_zeros,
        "target_units": target_units,
        "epochs": epochs,
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "shift": shift,
        "input_dropout": input_dropout,
        "distill": distill,
        "threads": threads,
        "time": time,
    }
    given = {name: value for name, value in given.items() if value is not None}
    grid = Grid(parts, partition, transport, patience)
    on_ranks = started_by_mpi() or (ranks is not None and ranks > 1)
    settings, directory = _settings(given, output, resume, on_ranks)
    if started_by_mpi():
        train_ranks.run(settings, directory, resume, grid, as_json)
        return
    with _telling_how_to_resume(directory, ranks):
        if on_ranks:
            train_ranks.start(settings, directory, resume, grid, ranks or 1)
            return
        grid.refuse()
        from espalier import training

        result = training.train(
            settings,
            directory.path,
            resume=resume,
            watch=progress,
            on_epoch=partial(print_epoch, epochs=settings.epochs),
            on_notice=print_notice,
        )
    if as_json:
        print_json(result.to_json())
    else:
        print_result(result)
    if not result.target_met:
        raise typer.Exit(FAILED)


def _settings(
    given: dict[str, Any], output: Path | None, resume: bool, on_ranks: bool
) -> tuple[Settings, RunDirectory]:
    """The settings and the directory; a resumed training brings its own settings with it."""
    from espalier import training
    from espalier.training.run_directory import ON_RANKS, ONE_PROCESS

    kind = ON_RANKS if on_ranks else ONE_PROCESS
    if resume:
        if output is None:
            raise InputError("--resume wants --output: the folder of the training to go on with")
        directory = training.RunDirectory(output, kind)
        return replace(directory.settings(), **given), directory
    settings = training.Settings(**(train_ranks.with_defaults(given) if on_ranks else given))
    how = "ranks" if on_ranks else settings.method
    words = ("training", Path(settings.data).name, settings.model, how, str(settings.seed))
    return settings, training.RunDirectory(output or Path("-".join(words).replace(":", "-")), kind)


@contextmanager
def _telling_how_to_resume(directory: RunDirectory, ranks: int | None) -> Iterator[None]:
    """Say after an interrupt how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if directory.begun:
            on = "" if ranks is None else f" --ranks {ranks}"
            path = directory.path
            print_notice(f"stopped; go on with: espalier train --output {path} --resume{on}")
        raise
