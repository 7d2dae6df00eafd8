"""`espalier bench`: what a user gains on this machine, in about a minute."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Annotated, Any

import typer

from espalier import kernels
from espalier.cli import format
from espalier.cli.console import print_json, print_rows, print_text, progress
from espalier.cli.info import describe_machine
from espalier.cli.options import Json, Threads
from espalier.cli.workloads import inference
from espalier.cli.workloads.workload import OURS, Gain, Workload
from espalier.errors import InputError, MissingExtraError

SCHEMA = 1  # of the JSON
WIDTH = 30  # characters of the first column, for a table of 80
# Command lines of the papers' tables come here too, to be told where those are made.
TAKES_ALL = {"ignore_unknown_options": True, "allow_extra_args": True}
PAPERS = ("challenge", "sparsetrain", "fssl", "partition")  # whose tables `benchmarks` makes
PACKAGES = ("espalier", "numpy", "scipy", "torch")

Results = dict[str, Gain | MissingExtraError]


def bench(
    context: typer.Context,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds to spend; three rounds are always timed.")
    ] = 60.0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure what espalier gains on this machine, and say where it does not pay.

    Networks of 120 layers of 1024 neurons: the Graph Challenge's, where shortcuts are proven, and
    one without structure, beside scipy's and PyTorch's sparse products. Training steps:
    convolutions that skip zeros, and a sparse layer of 2048 x 2048 weights at two densities,
    beside PyTorch's. Results are checked to be equal; then all are timed in alternating rounds.
    """
    if context.args:
        raise _unknown(context.args)
    count = kernels.thread_count(threads)
    end = time.perf_counter() + seconds
    found: Results = {}
    with _torch_threads(count):
        prepared = workloads(count)
        for what, prepare in prepared.items():
            left = end - time.perf_counter()
            found[what] = _measure(what, prepare, left / (len(prepared) - len(found)))
    machine = describe_machine() | {"threads": count}
    if as_json:
        measured = [{"what": what} | _to_json(gain) for what, gain in found.items()]
        print_json({"schema": SCHEMA, "machine": machine, "rows": measured})
        return
    _print_table(found)
    versions = {name: machine["versions"][name] for name in PACKAGES}
    print_text(
        f"{machine['processor']}, {machine['instruction_set']['name']}, {count} threads; "
        f"{', '.join(f'{name} {each}' for name, each in versions.items() if each)}. "
        "Medians over alternating rounds; scipy's products use one thread."
    )


def _unknown(words: list[str]) -> InputError:
    """The error for what the command does not take, such as the name of a paper's table."""
    if words[0] in PAPERS:
        return InputError(
            "the papers' tables are made in a checkout of the repository: "
            f"python -m benchmarks {words[0]}"
        )
    return InputError(f"bench takes no {' '.join(words)!r}; see espalier bench --help")


def workloads(threads: int) -> dict[str, Callable[[], Workload]]:
    """What is measured, in order: the name of each row of the table, and how to prepare it."""

    def training(name: str, *sizes: Any) -> Callable[[], Workload]:
        return lambda: getattr(_training(), name)(*sizes)

    size = 1024, 120, threads
    return {
        "RadiX-Net, 2000 digits": partial(inference.challenge, 2000, *size),
        "random network, 1000 samples": partial(inference.structureless, 1000, *size),
        "step of small VGG, batch 64": training("small_vgg", 64, 64),
        "step of ResNet block, batch 64": training("resnet_block", 64, 64),
        "step of sparse layer, 10%": training("sparse_layer", 2048, 128, 0.1),
        "step of sparse layer, 2%": training("sparse_layer", 2048, 128, 0.02),
    }


def _training() -> Any:
    try:
        from espalier.cli.workloads import training
    except ImportError:
        raise MissingExtraError("torch", "train", "training") from None
    return training


def _measure(
    what: str, prepare: Callable[[], Workload], seconds: float
) -> Gain | MissingExtraError:
    start = time.perf_counter()
    try:
        with progress(f"preparing: {what}", "steps"):
            workload = prepare()
    except MissingExtraError as error:
        return error
    with progress(what, "rounds") as update:
        return workload.measure(start + seconds - time.perf_counter(), update)


def _torch_threads(threads: int) -> AbstractContextManager[object]:
    """Let PyTorch, where it is installed, use so many threads within the block."""
    try:
        from espalier.nn.torch_tools import torch_threads
    except ImportError:
        return nullcontext()
    return torch_threads(threads)


def _print_table(found: Results) -> None:
    cells = []
    for what, gain in found.items():
        if isinstance(gain, MissingExtraError):
            cells.append([what, "-", "-", "-", "-"])
            continue
        times = [format.seconds(gain.seconds[name]) for name in gain.gains]
        ratios = [f"{format.quantity(each)}x" for each in gain.gains.values()]
        first = [what, *textwrap.wrap(gain.advice, WIDTH)]
        columns = first, [format.seconds(gain.seconds[OURS])], gain.gains, times, ratios
        cells.append(list(map("\n".join, columns)))
    header = ["what", OURS, "peer", "its time", "gain"]
    print_rows("what you gain on this machine", header, cells)
    for what, gain in found.items():
        if isinstance(gain, MissingExtraError):
            print_text(f"{what}: {gain}")


def _to_json(gain: Gain | MissingExtraError) -> dict[str, Any]:
    return {"missing": str(gain)} if isinstance(gain, MissingExtraError) else gain._asdict()
