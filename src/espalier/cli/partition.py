"""`espalier partition`: share out a network's rows among parts, and say what they send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import espalier as esp
from espalier.cli import format
from espalier.cli.arrays import check_target
from espalier.cli.console import print_facts, print_json, print_notice, print_rows, progress
from espalier.cli.options import Bias, Clip, Json, Layers, NetworkSource, Neurons
from espalier.cli.sources import GeneratedNetwork, open_network, parse_network
from espalier.partitioning import Partition, PartitionReport, predict
from espalier.partitioning.partitioners import checked
from espalier.partitioning.report import plot_report


def partition(
    network: NetworkSource,
    parts: Annotated[int, typer.Option(min=1, help="Parts to make.")],
    method: Annotated[
        Literal["hypergraph", "random", "hash", "block"],
        typer.Option(help="How rows are shared out."),
    ] = "hypergraph",
    imbalance: Annotated[
        float | None,
        typer.Option(
            help="Weights a part may have beyond its share, 0.03 for 3 %; by default none."
        ),
    ] = None,
    sweeps: Annotated[
        int, typer.Option(min=0, help="Times every layer is refined with its neighbours fixed.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the method.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="File to write; beside the network by default.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the words of every layer.")] = None,
    bias: Bias = None,
    clip: Clip = None,
    neurons: Neurons = None,
    layers: Layers = None,
    as_json: Json = False,
) -> None:
    """Share out the rows of NETWORK so that its PARTS send each other the fewest words.

    The table compares with random rows and blocks of rows; words are activations of one sample in
    a forward pass, and the same again in a backward pass.
    """
    source = parse_network(network)
    target = default_path(source, parts) if output is None else output
    check_target(target)
    if plot is not None:
        check_target(plot, (".png",))
    net = open_network(source, bias=bias, clip=clip, neurons=neurons, layers=layers)
    checked(net, parts, method, imbalance, sweeps, seed)
    narrow = min(net.shape(index)[0] for index in range(len(net)))
    if parts > narrow:
        print_notice(
            f"{parts} parts for layers of {narrow} rows: some parts have no row of some layers"
        )
    if method == "hypergraph" and parts > 1:
        print_notice(str(predict(net, parts, seed=seed)))
    with progress("partitioning", "layers") as update:
        made = esp.partition(
            net,
            parts,
            method,
            imbalance=imbalance,
            sweeps=sweeps,
            seed=seed,
            progress=update,
        )
    made.save(target)
    with progress("counting words", "layers") as update:
        report = made.report(net, progress=update)
    if plot is not None:
        plot_report(report, plot)
    if as_json:
        print_json({"file": str(target), "fingerprint": made.fingerprint, **report.to_dict()})
    else:
        _print_tables(network, target, made, report)


def default_path(source: GeneratedNetwork | Path, parts: int) -> Path:
    """Where a partition is written by default: beside its network, or here if that is generated.

    >>> default_path(Path("nets/net.safetensors"), 8).name
    'net.P8.partition'
    """
    if isinstance(source, GeneratedNetwork):
        return Path(str(source).replace(":", "-") + f".P{parts}.partition")
    if not source.name:  # the folder one is in
        source = source.resolve()
    name = source.name
    for suffix in (".gz", ".tar", ".tgz", ".safetensors", ".tsv", ".mtx"):
        name = name.removesuffix(suffix)
    return source.with_name(f"{name}.P{parts}.partition")


def _print_tables(name: str, target: Path, made: Partition, report: PartitionReport) -> None:
    depth = len(report.nonzeros)
    rows = [
        [
            method,
            format.count(figures.words),
            f"{figures.words / depth:,.0f}",
            f"{figures.most_sent / depth:,.0f}",
            f"{figures.most_received / depth:,.0f}",
            f"{figures.messages / depth:,.1f}",
            f"{figures.most_messages / depth:,.1f}",
            f"{figures.imbalance:.1%}",
        ]
        for method, figures in report.total.items()
    ]
    header = ["", "words", "a layer", "most sent", "most received", "messages", "most", "imbalance"]
    print_rows(f"{name} over {made.parts} parts, {depth} layers", header, rows)
    print_facts("the partition", {"what follows": report.verdict(), "file": str(target)})
