"""`espalier compact`: the smaller network that a trained one contains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from espalier.cli.arrays import check_target
from espalier.cli.console import print_facts, print_json, print_notice, progress
from espalier.cli.options import Json
from espalier.cli.training_table import print_networks, print_result
from espalier.errors import FileError, InputError

ENDING = ".safetensors"


def compact(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A saved model, or the folder of a training."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; compact.safetensors in or beside MODEL by default."),
    ] = None,
    time: Annotated[
        Literal["measured", "macs"],
        typer.Option(help="What decides between dense and CSR, for a model in a file."),
    ] = "measured",
    as_json: Json = False,
) -> None:
    """Cut the units and weights that are zero out of MODEL, and print what was gained.

    Each layer of the new model is dense or CSR, whichever was measured to be faster. It computes
    the same: that is checked before it is written. Of a training, the newest checkpoint counts.
    """
    if not model.exists():
        raise FileError(f"{model} does not exist, wanted a saved model or the folder of a training")
    if output is None:
        output = (model if model.is_dir() else model.parent) / f"compact{ENDING}"
    check_target(output, (ENDING,))
    if output.resolve() == model.resolve():
        raise InputError(f"{output} is MODEL itself; give another file as --output")
    from espalier import training

    if model.is_dir():
        result = training.compact_folder(model, output, on_notice=print_notice)
        print_json(result.to_json()) if as_json else print_result(result)
        return
    networks = training.compact_file(model, output, time=time, watch=progress)
    if as_json:
        print_json({"networks": [asdict(row) for row in networks], "model": str(output)})
    else:
        title = f"{model}; times of a batch of {training.BATCH}"
        print_networks(title, *networks, time=time)
        print_facts("written", {"model": str(output)})
