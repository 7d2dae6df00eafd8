"""`espalier bench`: the papers' tables, measured on this machine beside its peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espalier.cli.console import Json, print_json, progress

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


@app.callback()
def _group() -> None:
    """Keep `challenge` a word of its own while it is the only benchmark."""


@app.command("challenge")
def challenge(
    neurons: Annotated[
        list[int] | None, typer.Option(help="Network widths; repeat for several.")
    ] = None,
    layers: Annotated[
        list[int] | None, typer.Option(help="Network depths; repeat for several.")
    ] = None,
    inputs: Annotated[str, typer.Option(help="digits[:COUNT] or mnist:FOLDER[:COUNT].")] = "digits",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds of each timing.")] = 7,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Run scipy, torch and GraphBLAS too.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the tables (Markdown, JSON) and the plot.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time and rate of each challenge network and strategy (the FSSL paper's Tables IV to IX)."""
    from espalier.bench import challenge as tables

    with progress("measuring", "runs") as update:
        report = tables.run(
            neurons=tuple(neurons or (1024, 4096, 16384, 65536)),
            layers=tuple(layers or (120, 480, 1920)),
            inputs=inputs,
            rounds=rounds,
            peers=peers,
            output=output,
            progress=update,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))
