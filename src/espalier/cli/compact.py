"""`espalier compact`: what is left of a trained network, cut out of it."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from espalier.cli.arrays import check_target
from espalier.cli.console import Json, print_facts, print_json, print_notice, progress
from espalier.cli.gains import print_networks, print_result
from espalier.errors import FileError, InputError

ENDING = ".safetensors"


def compact(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A saved model, or the folder of a training."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="File to write.  [default: compact.safetensors in or beside MODEL]"),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Of one input, such as 1x28x28, of a model that does not name it."),
    ] = None,
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
    from espalier import training

    if model.is_dir():
        result = training.compact_folder(model, output, on_notice=print_notice)
        print_json(result.to_json()) if as_json else print_result(result)
        return
    size = None if shape is None else _parse_shape(shape)
    networks = training.compact_file(model, output, shape=size, watch=progress)
    if as_json:
        print_json({"networks": [asdict(row) for row in networks], "model": str(output)})
    else:
        print_networks(f"{model}; times of a batch of {training.BATCH}", networks)
        print_facts("the end", {"model": str(output)})


def _parse_shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})*", text):
        raise InputError(f"shape is {text!r}, wanted numbers from 1 up, such as 1x28x28")
    return tuple(map(int, text.split("x")))
