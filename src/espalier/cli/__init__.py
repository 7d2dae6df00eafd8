"""The command line; `main()` is the entry point. Each command has a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

import espalier
from espalier.cli import bench, compact, convert, demo, generate, infer, info, partition, train
from espalier.cli.console import Commands
from espalier.cli.options import Debug

app = typer.Typer(
    name="espalier",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # which fills paragraphs to the terminal's width
    help="Train sparse neural networks, shape them for the hardware, and run them fast.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"espalier {espalier.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version)
    ] = False,
) -> None:
    """Options of every command."""


app.add_typer(demo.app, name="demo")
app.command("infer")(infer.infer)
app.command("train")(train.train)
app.command("compact")(compact.compact)
app.command("partition")(partition.partition)
app.add_typer(generate.app, name="generate")
app.command("convert")(convert.convert)
app.command("bench", context_settings=bench.TAKES_ALL)(bench.bench)
app.command("info")(info.info)


def main() -> None:
    """Run the command line on the arguments of this process."""
    app()
