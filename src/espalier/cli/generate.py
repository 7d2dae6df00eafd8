"""`espalier generate`: networks and challenge images, written to files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

import espalier as esp
from espalier.cli import format
from espalier.cli.arrays import ENDINGS, check_target, save_batch
from espalier.cli.console import print_facts, print_json, progress
from espalier.cli.options import Json, NetworkTarget
from espalier.cli.sources import CHALLENGE_SAMPLES, open_network, parse_network
from espalier.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Make networks and inputs.")


@app.command("network")
def network(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="radixnet:NEURONSxLAYERS[:SEED] or random:NEURONSxLAYERS[:SEED]."
        ),
    ],
    target: NetworkTarget,
    as_json: Json = False,
) -> None:
    """Make the network RECIPE names and write it to TARGET, layer by layer."""
    source = parse_network(recipe)
    if isinstance(source, Path):
        raise InputError(
            f"network is {recipe!r}, wanted radixnet:NEURONSxLAYERS or random:NEURONSxLAYERS; "
            "for a file use: espalier convert"
        )
    started = time.perf_counter()
    net = open_network(source)
    with progress("writing layers", "layers") as update:
        esp.save(net, target, progress=update)
    facts: dict[str, str | int] = {"network": str(source), "target": target, "layers": len(net)}
    facts["connections"] = net.connections
    _print_result(facts, started, as_json)


@app.command("images")
def images(
    neurons: Annotated[
        int,
        typer.Argument(
            help="Pixels of an image, a square: the challenge has 1024, 4096, 16384, 65536."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="The batch: .npz as scipy CSR, or .npy dense.")],
    count: Annotated[int, typer.Option(min=1, help="Images to make.")] = CHALLENGE_SAMPLES,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder with MNIST's IDX files; scikit-learn's digits by default."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the augmentation.")] = 0,
    as_json: Json = False,
) -> None:
    """Make 0/1 inputs of the challenge from real digits and write them to TARGET."""
    check_target(target, ENDINGS)
    started = time.perf_counter()
    with progress("making images", "images") as update:
        batch = esp.challenge_images(neurons, count, source=source, seed=seed, progress=update)
    save_batch(target, batch)
    facts: dict[str, str | int] = {"target": str(target), "images": count}
    facts["set pixels"] = int(batch.sum())
    _print_result(facts, started, as_json)


def _print_result(facts: dict[str, str | int], started: float, as_json: bool) -> None:
    elapsed = time.perf_counter() - started
    if as_json:
        print_json(
            {name.replace(" ", "_"): value for name, value in facts.items()} | {"seconds": elapsed}
        )
        return
    shown = {name: format.count(v) if isinstance(v, int) else v for name, v in facts.items()}
    print_facts("written", shown | {"time": format.seconds(elapsed)})
