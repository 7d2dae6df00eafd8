"""`python -m benchmarks`: the papers' tables, measured on this machine beside its peers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.report import Report
from espalier.cli import format
from espalier.cli.console import Commands, print_json, print_rows, print_text, progress
from espalier.cli.options import Debug, Json
from espalier.cli.sources import GeneratedInputs, parse_inputs
from espalier.cuda import parse_device
from espalier.timing.interleave import ROUNDS

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    help="The papers' tables on this machine, beside its peers.",
)

Rounds = Annotated[int, typer.Option(min=1, help="Timed rounds of each candidate.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of all candidates; all by default.")
]
Mnist = Annotated[
    Path | None, typer.Option(help="Folder of MNIST to train on, in place of the digits.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the report in Markdown and JSON, for plots and single trainings; with the "
        "same folder trainings that were interrupted go on."
    ),
]


@app.callback()
def _options(debug: Debug = False) -> None:
    """Options of every command."""


@app.command("challenge")
def challenge(
    section: Annotated[
        list[str] | None,
        typer.Option(
            help="shortcuts, strategies, peers, structureless, ceiling or all; repeat for several. "
            "By default shortcuts and ceiling; on a GPU shortcuts, strategies, structureless, "
            "layers, by default the first and third."
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="NEURONSxLAYERS of a challenge network; repeat. By default 1024x120."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All twelve networks of the challenge.")
    ] = False,
    network_file: Annotated[
        Path | None, typer.Option(help="Measure this network on file in their place.")
    ] = None,
    inputs: Annotated[
        str, typer.Option(help="A file, digits[:COUNT], or mnist:FOLDER[:COUNT].")
    ] = "digits",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Inputs to run; the challenge has 60000.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Category list to check `shortcuts` against.")
    ] = None,
    structureless: Annotated[
        list[str] | None,
        typer.Option(
            help="NEURONSxLAYERS of a random network; repeat. By default 1024x120, 4096x120 and "
            "16384x120."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples of the random networks.")] = 4096,
    rounds: Rounds = ROUNDS,
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:N: what to measure.")] = "cpu",
    threads: Threads = None,
    limit: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds of all rounds of one candidate; slower ones run less."),
    ] = 120.0,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Run scipy, torch and GraphBLAS too.")
    ] = True,
    memory: Annotated[
        str | None, typer.Option(help="Memory budget of espalier's plans, such as 4GiB.")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """The Graph Challenge on this machine, beside the papers and the peers.

    shortcuts: every network as `espalier infer` runs it. strategies: the FSSL paper's Tables IV to
    IX. peers: the same work by scipy, torch and GraphBLAS. structureless: networks without any
    shortcut. ceiling: how near the kernels come to the machine's multiply-adds.
    """
    from benchmarks import challenge as tables
    from espalier import kernels

    source = parse_inputs(inputs)
    generated = source if isinstance(source, GeneratedInputs) else None
    sizes = tuple(map(tables.parse_size, network or ["1024x120"]))
    random_sizes = tuple(map(tables.parse_size, structureless or []))
    settings = tables.Settings(
        networks=tables.ALL_NETWORKS if every else sizes,
        network_file=_word(network_file),
        samples=samples or (generated.count if generated else tables.Settings.samples),
        images=_word(generated.folder if generated else None),
        inputs_file=_word(source if isinstance(source, Path) else None),
        truth=_word(truth),
        structureless=random_sizes or tables.Settings.structureless,
        batch=batch,
        rounds=rounds,
        threads=kernels.thread_count(threads),
        limit=limit,
        peers=peers,
        memory=None if memory is None else format.parse_bytes(memory),
        device=device,
    )
    benchmark = tables.CHALLENGE if parse_device(device) is None else tables.GPU
    _print(benchmark.run(settings, section, output=output, watch=progress), as_json)


@app.command("sparsetrain")
def sparsetrain(
    section: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...", help="layers, networks, replay, steps or all; all by default."
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="VGG16, ResNet-34, ResNet-50 or 'Fixup ResNet-50'; repeat. By default all four."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Measure layers with this in their name, such as 1x1 or @14; repeat."),
    ] = None,
    mnist: Mnist = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Images of a training step; repeat. By default 64 and 128."),
    ] = None,
    train_steps: Annotated[
        int, typer.Option(min=1, help="Steps of training before zeros are captured.")
    ] = 100,
    rounds: Rounds = ROUNDS,
    threads: Threads = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few layers, rounds and steps: about a minute.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Time the training steps of the large networks too.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Training that skips zeros, beside PyTorch's dense kernels and the SparseTrain paper.

    layers: speed-up of every layer and pass against the part of zeros. networks: training the
    convolutions of a network at the published zeros. replay: the zeros of a network in training.
    steps: whole training steps, all overheads in.
    """
    from benchmarks import sparsetrain as tables
    from espalier import kernels

    defaults = tables.Settings()
    settings = tables.Settings(
        networks=tuple(network or defaults.networks),
        layers=tuple(layer or ()),
        mnist=_word(mnist),
        batches=tuple(batch or defaults.batches),
        train_steps=train_steps,
        rounds=rounds,
        threads=kernels.thread_count(threads),
        models=tables.MODELS if full else defaults.models,
    )
    if quick:
        settings = settings.quick()
    _print(tables.SPARSETRAIN.run(settings, section, output=output, watch=progress), as_json)


@app.command("fssl")
def fssl(
    section: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...", help="pareto, claims, step, time or all; all by default."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Network of section pareto.  [default: mlp:300-100]")
    ] = None,
    mnist: Mnist = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="dense, width, scratch, random, norm, ssl, magnitude, rigl, fssl-weights, fssl or "
            "fssl-time; repeat. By default all."
        ),
    ] = None,
    target_time: Annotated[
        list[float] | None,
        typer.Option(help="Part of the dense time to reach by removing units; repeat."),
    ] = None,
    target_zeros: Annotated[
        list[float] | None,
        typer.Option(help="Part of the weights to zero one by one; repeat."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of everything.  [default: 5]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of every training.  [default: 40]")
    ] = None,
    lenet5_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the trainings of LeNet-5; --epochs by default.")
    ] = None,
    rounds: Rounds = ROUNDS,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of trainings; all by default. Times are of one and two."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few seeds, epochs, goals and rounds: a minute or two.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Structured sparsity beside every baseline, on this machine.

    pareto: all methods at several sizes, by error, weights and time. claims: what must be reached,
    and whether it is. step: a training step of a sparse layer. time: how far predicted times are
    off.
    """
    from benchmarks import fssl as tables
    from espalier import kernels

    defaults = tables.Settings()
    settings = tables.Settings(
        model=model or defaults.model,
        mnist=_word(mnist),
        methods=tuple(method or defaults.methods),
        times=tuple(target_time or defaults.times),
        zeros=tuple(target_zeros or defaults.zeros),
        seeds=seeds or defaults.seeds,
        epochs=epochs or defaults.epochs,
        lenet5_epochs=lenet5_epochs,
        rounds=rounds,
        threads=kernels.thread_count(threads),
    )
    if quick:
        settings = settings.quick()
    _print(tables.FSSL.run(settings, section, output=output, watch=progress), as_json)


@app.command("partition")
def partition(
    section: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION]...", help="volume, ranks or all; all by default."),
    ] = None,
    neurons: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Challenge networks to partition; repeat."),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Layers of each.  [default: 120]")
    ] = None,
    parts: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Numbers of parts; repeat. By default 8, 32, 128 and 512."),
    ] = None,
    network_file: Annotated[
        Path | None, typer.Option(help="Partition this network on file in their place.")
    ] = None,
    sweeps: Annotated[
        int | None,
        typer.Option(min=0, help="Times every layer is cut again, neighbours fixed.  [default: 0]"),
    ] = None,
    ranks: Annotated[
        int | None, typer.Option(min=1, help="Processes of section ranks.  [default: 2]")
    ] = None,
    wide: Annotated[
        int | None, typer.Option(min=1, help="Neurons of its network.  [default: 16384]")
    ] = None,
    deep: Annotated[int | None, typer.Option(min=1, help="Layers of it.  [default: 120]")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples of it.  [default: 256]")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Timed rounds of each candidate.  [default: 7]")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Small networks, few rounds, unless given: about a minute."),
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Partitioned networks: what parts send, beside random rows, and how fast ranks are.

    volume: words, messages and balance of every method. ranks: exchanges, inference and training
    on processes of this machine, beside one process.
    """
    from benchmarks import partition as tables

    defaults = tables.Settings()
    given: dict[str, Any] = {
        "neurons": tuple(neurons or ()) or None,
        "layers": layers,
        "parts": tuple(parts or ()) or None,
        "network_file": _word(network_file),
        "random": () if neurons else None,
        "sweeps": sweeps,
        "ranks": ranks,
        "wide": wide,
        "deep": deep,
        "batch": batch,
        "rounds": rounds,
    }
    settings = replace(
        defaults.quick() if quick else defaults,
        **{name: value for name, value in given.items() if value is not None},
    )
    _print(tables.PARTITION.run(settings, section, output=output, watch=progress), as_json)


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    for title, header, rows in report.tables():
        print_rows(title, header, rows)
    for answer in report.answers:
        for note in report.notes(answer):
            print_text(f"{answer.section.name}: {note}")
    print_text(report.conditions)


def _word(path: Path | None) -> str | None:
    return None if path is None else str(path)
