"""`espalier convert`: a network from one file format to another, layer by layer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from espalier import files
from espalier.cli import format
from espalier.cli.console import print_facts, print_json, progress
from espalier.cli.options import Bias, Clip, Json, Layers, NetworkTarget, Neurons


def convert(
    source: Annotated[Path, typer.Argument(help="The network to read: any format infer reads.")],
    target: NetworkTarget,
    bias: Bias = None,
    clip: Clip = None,
    neurons: Neurons = None,
    layers: Layers = None,
    as_json: Json = False,
) -> None:
    """Convert the network SOURCE to the format of TARGET; one layer is in memory at a time."""
    started = time.perf_counter()
    with progress("converting", "layers") as update:
        files.convert(
            source,
            target,
            bias=bias,
            clip=clip,
            neurons=neurons,
            layers=layers,
            progress=update,
        )
    elapsed = time.perf_counter() - started
    if as_json:
        print_json({"source": str(source), "target": target, "seconds": elapsed})
        return
    print_facts(
        "converted",
        {"source": str(source), "target": target, "time": format.seconds(elapsed)},
    )
