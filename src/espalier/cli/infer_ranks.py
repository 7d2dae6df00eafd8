"""`espalier infer --ranks P`: the same command on several processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from espalier.cli import format, ranks
from espalier.cli.console import print_facts, print_json
from espalier.cli.expected_categories import Verdict
from espalier.cli.infer_files import Problem, Results, fail_unless_passed
from espalier.distributed.comm.process_grid import parts_for_inference
from espalier.errors import InputError
from espalier.partitioning import Partition


def start(problem: Problem, grid: ranks.Grid, wanted: int, threads: int | None) -> None:
    """Choose the grid, partition the network where it has parts, and start the ranks."""
    network = problem.network

    def default() -> Partition:
        parts = parts_for_inference(network, wanted, problem.samples.shape[0])
        return ranks.make_partition(network, parts)

    ranks.start(wanted, grid.choose(network, wanted, default), threads)


def run(
    problem: Problem, grid: ranks.Grid, results: Results, filter: str | None, **options: Any
) -> None:
    """This rank's part of the run; rank 0 prints.

    Arguments:
        options: shortcuts and threads, as a plan on ranks takes them.
    """
    from espalier.distributed.comm.world import FOR_FILES
    from espalier.distributed.inference.plan import DistributedPlan

    with ranks.on_grid(grid, lambda: problem.network) as (world, partition):
        rows = _filter(filter)
        plan = DistributedPlan(
            problem.network,
            partition.owners,
            world,
            transport=grid.transport or "auto",
            **options,
        )
        result = plan.run(problem.samples, rows)
        world.timeout.enter("collecting the results")
        whole: Any = None if results.activations is None else result.gather()
        verdict = results.verdict(result.categories, problem.samples.shape[0])
        if world.rank == 0:
            if whole is not None:
                whole = sp.csr_array(whole) if results.wants_csr else np.asarray(whole)
            results.save(result.categories, whole)
            report = result.report().to_dict()
            outcome = _outcome(problem, plan.compile_seconds, report, verdict)
            if results.as_json:
                print_json(outcome)
            else:
                _print_table(outcome, verdict)
        world.barrier(times=FOR_FILES)
        plan.close()
        fail_unless_passed(verdict)


def _filter(given: str | None) -> Any:
    if given == "unique":
        raise InputError("filter is 'unique', wanted 'zero' or 'none' on several ranks")
    return given or "zero"


def _outcome(
    problem: Problem, compile_seconds: float, report: dict[str, Any], verdict: Verdict | None
) -> dict[str, Any]:
    return {
        **problem.to_dict(),
        "seconds": {
            "load": problem.load_seconds,
            "compile": compile_seconds,
            "run": report["seconds"],
        },
        "categories": report["categories"],
        "truth": None if verdict is None else verdict.to_dict(),
        "report": report,
    }


def _print_table(outcome: dict[str, Any], verdict: Verdict | None) -> None:
    report, seconds = outcome["report"], outcome["seconds"]
    sources = outcome["network"]["source"], outcome["inputs"]["source"]
    print_facts(
        f"{' over '.join(sources)} on {report['replicas'] * report['parts']} ranks",
        {
            "grid": format.grid(report["replicas"], report["parts"]),
            "connections": f"{format.count(report['connections'])} in {report['layers']} layers",
            "inputs": format.count(report["samples"]),
            "load": format.seconds(seconds["load"]),
            "compile": format.seconds(seconds["compile"]),
            "run": format.seconds(seconds["run"]),
            "nominal rate": format.quantity(report["rate"], "connections/s"),
            "effective operations": format.quantity(report["effective_operations"]),
            "words sent": f"{format.count(report['words'])} in "
            f"{format.count(report['messages'])} messages ({report['transport']})",
            "categories": format.count(report["categories"]),
        },
        verdict=None if verdict is None else str(verdict),
    )
