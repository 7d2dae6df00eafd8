"""`espalier infer`: run a network over a batch and check the categories against a truth list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import espalier as esp
from espalier import files
from espalier.cli import format as units
from espalier.cli import infer_ranks
from espalier.cli.arrays import ENDINGS, check_target, save_batch
from espalier.cli.console import FAILED, Json, print_facts, print_json, progress
from espalier.cli.ranks import (
    PartitionFile,
    Parts,
    PatienceOption,
    Ranks,
    TransportOption,
    refuse_without_ranks,
    started_by_mpi,
)
from espalier.cli.shortcuts import print_shortcuts
from espalier.cli.sources import open_inputs, open_network, parse_inputs, parse_network
from espalier.cli.truth import Verdict, compare
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
Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A file or folder, radixnet:NEURONSxLAYERS[:SEED], or random:NEURONSxLAYERS[:SEED].",
    ),
]
Inputs = Annotated[
    str,
    typer.Argument(metavar="INPUTS", help="A file, digits[:COUNT], or mnist:FOLDER[:COUNT]."),
]
Bias = Annotated[
    float | None,
    typer.Option(help="Bias of every neuron, which text files lack; by default the challenge's."),
]
Clip = Annotated[
    float | None,
    typer.Option(help="Upper bound of every output; by default the challenge's, with its bias."),
]
Neurons = Annotated[
    int | None, typer.Option(help="Width of a text network whose name does not say it.")
]
Layers = Annotated[
    int | None, typer.Option(min=1, help="First layers to take of a network on file.")
]


def infer(
    network: Network,
    inputs: Inputs,
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
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to use; all of them by default.")
    ] = None,
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
    transport: TransportOption = None,
    patience: PatienceOption = None,
    as_json: Json = False,
) -> None:
    """Run NETWORK over INPUTS by the rules of the Sparse DNN Graph Challenge.

    With `--ranks P`, on P processes: replicas of the network share the inputs and, where it does
    not fit or `--parts` asks for it, parts of it share its rows. `mpiexec -n P python -m mpi4py -m
    espalier infer ...` does the same on machines of a cluster.

    The last table names the connections, the time to load, compile and run, the nominal rate
    and effective operations, and the categories: the samples whose last row is not all zero.
    """
    several = started_by_mpi() or (ranks is not None and ranks > 1)
    if several and (strategy != "auto" or memory is not None):
        raise InputError("--strategy and --memory are for one process; leave out --ranks")
    if several and device != "cpu":
        raise InputError(f"--device {device} is for one process; leave out --ranks")
    if not several:
        refuse_without_ranks(
            parts=parts, partition=partition, transport=transport, patience=patience
        )
    network_spec, inputs_spec = parse_network(network), parse_inputs(inputs)
    budget = None if memory is None else units.parse_bytes(memory)
    if output is not None:
        check_target(output)
    if activations is not None:
        check_target(activations, ENDINGS)

    if (ordinal := parse_device(device)) is not None:
        open_device(ordinal)  # before anything takes time

    wanted = None if truth is None else files.load_categories(truth)

    started = time.perf_counter()
    with progress("reading layers", "layers") as update:
        net = open_network(
            network_spec, bias=bias, clip=clip, neurons=neurons, layers=layers, progress=update
        )
    with progress(
        "reading inputs", "bytes" if isinstance(inputs_spec, Path) else "images"
    ) as update:
        samples = open_inputs(inputs_spec, net.inputs, update)
    load_seconds = time.perf_counter() - started
    if several:
        job = infer_ranks.Job(
            network=network,
            inputs=inputs,
            net=net,
            samples=samples,
            load_seconds=load_seconds,
            filter=filter,
            merge=merge,
            group=group,
            fixed_point=fixed_point,
            threads=threads,
            truth=truth,
            output=output,
            activations=activations,
            as_json=as_json,
            parts=parts,
            partition=partition,
            transport=transport or "auto",
            patience=patience,
        )
        if started_by_mpi():
            infer_ranks.run(job)
        elif ranks is not None:
            infer_ranks.start(job, ranks)
        return
    with progress("compiling", "layers") as update:
        plan: AnyPlan
        if strategy == "auto":
            plan = esp.compile(
                net,
                device=device,
                merge=merge,
                fold=fold,
                group=group,
                fixed_point=fixed_point,
                threads=threads,
                memory=budget,
                progress=update,
            )
        else:
            plan = compile_strategy(net, strategy, device=device, threads=threads)
    wants_csr = activations is not None and activations.suffix == ".npz"
    result = _run(plan, samples, filter or "unique", wants_csr=wants_csr)

    verdict = None
    if wanted is not None:
        verdict = compare(result.categories, wanted, samples.shape[0])
    if output is not None:
        files.save_categories(result.categories, output)
    if activations is not None:
        save_batch(activations, result.activations)

    outcome = _outcome(network, net, inputs, samples, result, verdict)
    outcome["seconds"] = {
        "load": load_seconds,
        "compile": plan.compile_seconds,
        "run": result.seconds,
    }
    if isinstance(result, GpuResult):
        outcome["seconds"]["device"] = vars(result.device_seconds)
    if as_json:
        print_json(outcome)
    else:
        _print_tables(outcome, result, verdict)
    if verdict is not None and not verdict.passed:
        raise typer.Exit(FAILED)


def _run(plan: AnyPlan, samples: Any, filter: Filter, *, wants_csr: bool) -> esp.Result:
    output: Literal["dense", "csr"] = "csr" if wants_csr else "dense"
    with progress("running", "steps") as update:
        if isinstance(plan, StrategyPlan | GpuStrategyPlan):
            return plan.run(samples, output=output, progress=update)
        return plan.run(samples, filter, output=output, progress=update)


def _outcome(
    network: str,
    net: esp.Network,
    inputs: str,
    samples: Any,
    result: esp.Result,
    verdict: Verdict | None,
) -> dict[str, Any]:
    return {
        "network": {
            "source": network,
            "layers": len(net),
            "inputs": net.inputs,
            "outputs": net.outputs,
            "connections": result.report().connections,
        },
        "inputs": {"source": inputs, "samples": samples.shape[0]},
        "rate": result.rate,
        "effective_operations": result.effective_operations,
        "categories": len(result.categories),
        "truth": None if verdict is None else verdict.to_dict(),
        "report": result.report().to_dict(),
    }


def _print_tables(outcome: dict[str, Any], result: esp.Result, verdict: Verdict | None) -> None:
    network, seconds = outcome["network"], outcome["seconds"]
    print_shortcuts(result.report())
    print_facts(
        f"{network['source']} over {outcome['inputs']['source']}",
        {
            "connections": f"{units.count(network['connections'])} in {network['layers']} layers",
            "inputs": units.count(outcome["inputs"]["samples"]),
            "load": units.seconds(seconds["load"]),
            "compile": units.seconds(seconds["compile"]),
            "run": units.seconds(seconds["run"]),
            **_device_facts(seconds.get("device")),
            "nominal rate": units.quantity(outcome["rate"], "connections/s"),
            "effective operations": units.quantity(outcome["effective_operations"]),
            "categories": units.count(outcome["categories"]),
        },
        verdict=None if verdict is None else str(verdict),
    )


def _device_facts(seconds: dict[str, float] | None) -> dict[str, str]:
    """Where the time of a GPU went; nothing for a run on the CPU."""
    if seconds is None:
        return {}
    names = {"load": "samples to panels", "layers": "layers", "store": "results to host"}
    return {f"... {name}": units.seconds(seconds[key]) for key, name in names.items()}
