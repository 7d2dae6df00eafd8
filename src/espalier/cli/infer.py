"""`espalier infer`: run a network over a batch and check the categories against a truth list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import espalier as esp
from espalier.cli import format, infer_ranks
from espalier.cli.console import print_facts, print_json, print_shortcuts, progress
from espalier.cli.expected_categories import Verdict
from espalier.cli.infer_files import Problem, Results, fail_unless_passed
from espalier.cli.options import (
    Bias,
    Clip,
    InputsSource,
    Json,
    Layers,
    NetworkSource,
    Neurons,
    PartitionFile,
    Parts,
    Patience,
    Ranks,
    Threads,
    Transport,
)
from espalier.cli.ranks import Grid, started_by_mpi
from espalier.cuda import open_device, parse_device
from espalier.errors import InputError
from espalier.inference import (
    GpuPlan,
    GpuResult,
    GpuStrategyPlan,
    StrategyPlan,
    compile_strategy,
)

Filter = Literal["none", "zero", "unique"]
AnyPlan = esp.Plan | GpuPlan | StrategyPlan | GpuStrategyPlan


def infer(
    network: NetworkSource,
    inputs: InputsSource,
    truth: Annotated[
        Path | None,
        typer.Option(help="Category list to compare with; exit code 1 where they differ."),
    ] = None,
    bias: Bias = None,
    clip: Clip = None,
    neurons: Neurons = None,
    layers: Layers = None,
    filter: Annotated[
        Filter | None,
        typer.Option(
            help="Rows to drop while running: those that died, or repeats too, the default; on "
            "several ranks those that died."
        ),
    ] = None,
    strategy: Annotated[
        Literal["auto", "buffer", "no-buffer", "filter"],
        typer.Option(help="The fast plan, or one of the FSSL paper's sparse products."),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="Where to run: cpu, cuda, or cuda:N for one of several GPUs.")
    ] = "cpu",
    merge: Annotated[
        bool, typer.Option("--merge/--no-merge", help="Merge neurons that are equal.")
    ] = True,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Fold neurons that are constant or unread.")
    ] = True,
    group: Annotated[
        bool, typer.Option("--group/--no-group", help="Group rows that share their columns.")
    ] = True,
    fixed_point: Annotated[
        bool,
        typer.Option(
            "--fixed-point/--no-fixed-point", help="Stop a sample at a proven fixed point."
        ),
    ] = True,
    threads: Threads = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory budget, such as 4GiB; stream what exceeds it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the categories to this file, 1-based.")
    ] = None,
    activations: Annotated[
        Path | None,
        typer.Option(help="Write the last layer's activations: .npy dense, .npz scipy CSR."),
    ] = None,
    ranks: Ranks = None,
    parts: Parts = None,
    partition: PartitionFile = None,
    transport: Transport = None,
    patience: Patience = None,
    as_json: Json = False,
) -> None:
    """Run NETWORK over INPUTS by the rules of the Sparse DNN Graph Challenge.

    With `--ranks P`, on P processes: replicas of the network share the inputs and, where it does
    not fit or `--parts` asks for it, parts of it share its rows. `mpiexec -n P python -m mpi4py -m
    espalier infer ...` does the same on machines of a cluster.

    The last table names the connections, the time to load, compile and run, the nominal rate
    and effective operations, and the categories: the samples whose last row is not all zero.
    """
    grid = Grid(parts, partition, transport, patience)
    several = started_by_mpi() or (ranks is not None and ranks > 1)
    if several and (strategy != "auto" or memory is not None):
        raise InputError("--strategy and --memory are for one process; leave out --ranks")
    if several and device != "cpu":
        raise InputError(f"--device {device} is for one process; leave out --ranks")
    if not several:
        grid.refuse()
    budget = None if memory is None else format.parse_bytes(memory)
    results = Results.prepare(truth, output, activations, as_json)
    if (ordinal := parse_device(device)) is not None:
        open_device(ordinal)  # before anything takes time

    problem = Problem.read(network, inputs, bias=bias, clip=clip, neurons=neurons, layers=layers)
    shortcuts = {"merge": merge, "group": group, "fixed_point": fixed_point}
    if several:
        if not started_by_mpi():
            infer_ranks.start(problem, grid, ranks or 1, threads)
        else:
            infer_ranks.run(problem, grid, results, filter, threads=threads, **shortcuts)
        return
    with progress("compiling", "layers") as update:
        plan: AnyPlan
        if strategy == "auto":
            plan = esp.compile(
                problem.network,
                device=device,
                fold=fold,
                threads=threads,
                memory=budget,
                progress=update,
                **shortcuts,
            )
        else:
            plan = compile_strategy(problem.network, strategy, device=device, threads=threads)
    result = _run(plan, problem.samples, filter or "unique", wants_csr=results.wants_csr)
    verdict = results.verdict(result.categories, problem.samples.shape[0])
    results.save(result.categories, result.activations if activations is not None else None)

    outcome = _outcome(problem, plan.compile_seconds, result, verdict)
    if as_json:
        print_json(outcome)
    else:
        _print_tables(outcome, result, verdict)
    fail_unless_passed(verdict)


def _run(plan: AnyPlan, samples: Any, filter: Filter, *, wants_csr: bool) -> esp.Result:
    output: Literal["dense", "csr"] = "csr" if wants_csr else "dense"
    with progress("running", "steps") as update:
        if isinstance(plan, StrategyPlan | GpuStrategyPlan):
            return plan.run(samples, output=output, progress=update)
        return plan.run(samples, filter, output=output, progress=update)


def _outcome(
    problem: Problem, compile_seconds: float, result: esp.Result, verdict: Verdict | None
) -> dict[str, Any]:
    outcome, report = problem.to_dict(), result.report()
    outcome["network"] |= {
        "inputs": problem.network.inputs,
        "outputs": problem.network.outputs,
        "connections": report.connections,
    }
    seconds: dict[str, Any] = {
        "load": problem.load_seconds,
        "compile": compile_seconds,
        "run": result.seconds,
    }
    if isinstance(result, GpuResult):
        seconds["device"] = vars(result.device_seconds)
    return {
        **outcome,
        "rate": result.rate,
        "effective_operations": result.effective_operations,
        "categories": len(result.categories),
        "truth": None if verdict is None else verdict.to_dict(),
        "report": report.to_dict(),
        "seconds": seconds,
    }


def _print_tables(outcome: dict[str, Any], result: esp.Result, verdict: Verdict | None) -> None:
    network, seconds = outcome["network"], outcome["seconds"]
    print_shortcuts(result.report())
    print_facts(
        f"{network['source']} over {outcome['inputs']['source']}",
        {
            "connections": f"{format.count(network['connections'])} in {network['layers']} layers",
            "inputs": format.count(outcome["inputs"]["samples"]),
            "load": format.seconds(seconds["load"]),
            "compile": format.seconds(seconds["compile"]),
            "run": format.seconds(seconds["run"]),
            **_device_facts(seconds.get("device")),
            "nominal rate": format.quantity(outcome["rate"], "connections/s"),
            "effective operations": format.quantity(outcome["effective_operations"]),
            "categories": format.count(outcome["categories"]),
        },
        verdict=None if verdict is None else str(verdict),
    )


def _device_facts(seconds: dict[str, float] | None) -> dict[str, str]:
    """Where the time of a GPU went; nothing for a run on the CPU."""
    if seconds is None:
        return {}
    names = {"load": "samples to panels", "layers": "layers", "store": "results to host"}
    return {f"... {name}": format.seconds(seconds[key]) for key, name in names.items()}
