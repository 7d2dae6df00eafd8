"""`python -m benchmarks`: the papers' tables, measured on this machine beside its peers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from benchmarks.challenge import settings as challenge_settings
from benchmarks.fssl.settings import Settings as FsslSettings
from benchmarks.harness.report import Report
from benchmarks.partition.settings import Settings as PartitionSettings
from benchmarks.sparsetrain import settings as sparsetrain_settings
from espalier.cli import format
from espalier.cli.console import Commands, print_json, print_rows, print_text, progress
from espalier.cli.options import Debug, Json
from espalier.cli.sources import GeneratedInputs, parse_inputs
from espalier.cuda import parse_device

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The papers' tables on this machine, beside its peers.",
)

Given = dict[str, Any]  # settings that the command line gives, by field
Sections = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SECTION]...", help="Sections to measure, or all; all by default."),
]
Quick = Annotated[bool, typer.Option("--quick", help="Small and few: a minute or two.")]
Output = Annotated[
    Path | None, typer.Option(help="Folder for the report in Markdown and JSON, and for plots.")
]
OutputAndRuns = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the report in Markdown and JSON, for plots and single trainings; with the "
        "same folder trainings that were interrupted go on."
    ),
]


@app.callback()
def _options(debug: Debug = False) -> None:
    """Options of every command."""


def _command(settings: type[Any]) -> Callable[[Callable[..., Report]], Callable[..., Report]]:
    """A command with the options of a class of settings, those of its function, and ``--json``.

    The function takes the settings that are given and returns the report to print.
    """
    options = _settings_options(settings)

    def register(function: Callable[..., Report]) -> Callable[..., Report]:
        def run(as_json: bool, **values: Any) -> None:
            chosen = {each.name: values.pop(each.name) for each in options}
            given: Given = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in chosen.items()
                if value is not None and value != []
            }
            if "threads" in chosen:
                from espalier import kernels

                given["threads"] = kernels.thread_count(given.get("threads"))
            _print(function(given, **values), as_json)

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        json = _option("as_json", Json, False)
        every = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        run.__signature__ = inspect.Signature([*options, *every, json])  # type: ignore[attr-defined]
        run.__annotations__ = {}
        app.command(function.__name__, help=inspect.getdoc(function))(run)
        return function

    return register


def _settings_options(settings: type[Any]) -> list[inspect.Parameter]:
    """An option for each field that describes one; None where it is not given."""
    hints = get_type_hints(settings, include_extras=True)
    options = []
    for field in fields(settings):
        if get_origin(hints[field.name]) is not Annotated:
            continue
        kind, option = get_args(hints[field.name])
        if get_origin(kind) is tuple:
            (item, _) = get_args(kind)
            kind = list[item if item in (int, float) else str]  # type: ignore[misc]
        elif isinstance(field.default, int | float | str) and "default" not in option.help:
            option = copy(option)
            option.show_default = str(field.default)
        options.append(_option(field.name, Annotated[kind | None, option], None))
    return options


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


@_command(challenge_settings.Settings)
def challenge(
    given: Given,
    section: Annotated[
        list[str] | None,
        typer.Option(
            help="shortcuts, strategies, peers, structureless, ceiling or all; repeat for several. "
            "By default shortcuts and ceiling; on a GPU shortcuts, strategies, structureless, "
            "layers, by default the first and third."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All twelve networks of the challenge.")
    ] = False,
    inputs: Annotated[
        str, typer.Option(help="A file, digits[:COUNT], or mnist:FOLDER[:COUNT].")
    ] = "digits",
    memory: Annotated[
        str | None, typer.Option(help="Memory budget of espalier's plans, such as 4GiB.")
    ] = None,
    output: Output = None,
) -> Report:
    """The Graph Challenge on this machine, beside the papers and the peers.

    shortcuts: every network as `espalier infer` runs it. strategies: the FSSL paper's Tables IV to
    IX. peers: the same work by scipy, torch and GraphBLAS. structureless: networks without any
    shortcut. ceiling: how near the kernels come to the machine's multiply-adds.
    """
    from benchmarks.challenge.benchmark import CHALLENGE, GPU

    source = parse_inputs(inputs)
    if isinstance(source, GeneratedInputs):
        folder = None if source.folder is None else str(source.folder)
        given = {"samples": source.count, "images": folder} | given
    else:
        given["inputs_file"] = str(source)
    for name in ("networks", "structureless"):
        if name in given:
            given[name] = tuple(map(challenge_settings.parse_size, given[name]))
    if every:
        given["networks"] = challenge_settings.ALL_NETWORKS
    if memory is not None:
        given["memory"] = format.parse_bytes(memory)
    settings = challenge_settings.Settings(**given)
    benchmark = CHALLENGE if parse_device(settings.device) is None else GPU
    return benchmark.run(settings, section, output=output, watch=progress)


@_command(sparsetrain_settings.Settings)
def sparsetrain(
    given: Given,
    section: Sections = None,
    quick: Quick = False,
    full: Annotated[
        bool, typer.Option("--full", help="Time the training steps of the large networks too.")
    ] = False,
    output: Output = None,
) -> Report:
    """Training that skips zeros, beside PyTorch's dense kernels and the SparseTrain paper.

    layers: speed-up of every layer and pass against the part of zeros. networks: training the
    convolutions of a network at the published zeros. replay: the zeros of a network in training.
    steps: whole training steps, all overheads in.
    """
    from benchmarks.sparsetrain.benchmark import SPARSETRAIN

    if full:
        given["models"] = sparsetrain_settings.MODELS
    settings = sparsetrain_settings.Settings(**given)
    if quick:
        settings = settings.quick()
    return SPARSETRAIN.run(settings, section, output=output, watch=progress)


@_command(FsslSettings)
def fssl(
    given: Given, section: Sections = None, quick: Quick = False, output: OutputAndRuns = None
) -> Report:
    """Structured sparsity beside every baseline, on this machine.

    pareto: all methods at several sizes, by error, weights and time. claims: what must be reached,
    and whether it is. step: a training step of a sparse layer. time: how far predicted times are
    off.
    """
    from benchmarks.fssl.benchmark import FSSL

    settings = FsslSettings(**given)
    if quick:
        settings = settings.quick()
    return FSSL.run(settings, section, output=output, watch=progress)


@_command(PartitionSettings)
def partition(
    given: Given, section: Sections = None, quick: Quick = False, output: Output = None
) -> Report:
    """Partitioned networks: what parts send, beside random rows, and how fast ranks are.

    volume: words, messages and balance of every method. ranks: exchanges, inference and training
    on processes of this machine, beside one process.
    """
    from benchmarks.partition.benchmark import PARTITION

    defaults = PartitionSettings()
    if "neurons" in given:
        given["random"] = ()
    settings = replace(defaults.quick() if quick else defaults, **given)
    return PARTITION.run(settings, section, output=output, watch=progress)


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
