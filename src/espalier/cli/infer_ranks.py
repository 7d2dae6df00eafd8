"""`espalier infer --ranks P`: the same command on several processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

import espalier as esp
from espalier import files
from espalier.cli import format as units
from espalier.cli import ranks
from espalier.cli.arrays import save_batch
from espalier.cli.console import FAILED, print_facts, print_json
from espalier.cli.truth import Verdict, compare
from espalier.distributed.comm.process_grid import parts_for_inference
from espalier.distributed.comm.transport import TransportName
from espalier.errors import InputError


@dataclass(frozen=True)
class Job:
    """What was asked for; every rank has the same."""

    network: str
    inputs: str
    net: esp.Network
    samples: Any
    load_seconds: float
    filter: str | None
    merge: bool
    group: bool
    fixed_point: bool
    threads: int | None
    truth: Path | None
    output: Path | None
    activations: Path | None
    as_json: bool
    parts: int | None
    partition: Path | None
    transport: TransportName
    patience: float | None


def start(job: Job, wanted: int) -> None:
    """Choose the grid, partition the network where it has parts, and start the ranks."""
    if job.partition is not None:
        partition = esp.load_partition(job.partition)
        partition.check(job.net)
        ranks.check_parts(job.parts, partition)
    else:
        chosen = job.parts or parts_for_inference(job.net, wanted, job.samples.shape[0])
        if wanted % chosen:
            raise InputError(
                f"parts is {chosen} with {wanted} ranks, wanted a divisor of the ranks"
            )
        partition = ranks.find_partition(None, job.net, chosen)
    ranks.start(wanted, partition, job.threads)


def run(job: Job) -> None:
    """This rank's part of the run; rank 0 prints."""
    from espalier.distributed.comm.world import FOR_FILES, World
    from espalier.distributed.inference.plan import DistributedPlan

    partition = None if job.partition is None else esp.load_partition(job.partition)
    parts = job.parts if partition is None else partition.parts
    with ranks.on_rank(lambda: World(parts, patience=job.patience)) as world:
        if partition is None:
            partition = ranks.find_partition(None, job.net, world.parts)
        wanted = None if job.truth is None else files.load_categories(job.truth)
        filter = _filter(job.filter)
        plan = DistributedPlan(
            job.net,
            partition.owners,
            world,
            merge=job.merge,
            group=job.group,
            fixed_point=job.fixed_point,
            transport=job.transport,
            threads=job.threads,
        )
        result = plan.run(job.samples, filter)
        world.timeout.enter("collecting the results")
        whole = None if job.activations is None else result.gather()
        verdict = None
        if wanted is not None:
            verdict = compare(result.categories, wanted, job.samples.shape[0])
        if world.rank == 0:
            if job.output is not None:
                files.save_categories(result.categories, job.output)
            if job.activations is not None and whole is not None:
                save_batch(job.activations, _as_kind(whole, job.activations))
            _print(job, plan.compile_seconds, result.report().to_dict(), verdict)
        world.barrier(times=FOR_FILES)
        plan.close()
        if verdict is not None and not verdict.passed:
            raise typer.Exit(FAILED)


def _filter(asked: str | None) -> Any:
    if asked == "unique":
        raise InputError("filter is 'unique', wanted 'zero' or 'none' on several ranks")
    return asked or "zero"


def _as_kind(whole: Any, path: Path) -> Any:
    import scipy.sparse as sp

    return sp.csr_array(whole) if path.suffix == ".npz" else np.asarray(whole)


def _print(
    job: Job, compile_seconds: float, report: dict[str, Any], verdict: Verdict | None
) -> None:
    outcome = {
        "network": {"source": job.network, "layers": report["layers"]},
        "inputs": {"source": job.inputs, "samples": report["samples"]},
        "seconds": {
            "load": job.load_seconds,
            "compile": compile_seconds,
            "run": report["seconds"],
        },
        "categories": report["categories"],
        "truth": None if verdict is None else verdict.to_dict(),
        "report": report,
    }
    if job.as_json:
        print_json(outcome)
        return
    ranks_used = report["replicas"] * report["parts"]
    print_facts(
        f"{job.network} over {job.inputs} on {ranks_used} ranks",
        {
            "grid": units.grid(report["replicas"], report["parts"]),
            "connections": f"{units.count(report['connections'])} in {report['layers']} layers",
            "inputs": units.count(report["samples"]),
            "load": units.seconds(job.load_seconds),
            "compile": units.seconds(compile_seconds),
            "run": units.seconds(report["seconds"]),
            "nominal rate": units.quantity(report["rate"], "connections/s"),
            "effective operations": units.quantity(report["effective_operations"]),
            "words sent": f"{units.count(report['words'])} in {units.count(report['messages'])} "
            f"messages ({report['transport']})",
            "categories": units.count(report["categories"]),
        },
        verdict=None if verdict is None else str(verdict),
    )
