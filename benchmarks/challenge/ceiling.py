"""Section `ceiling`: how near the kernels come to the machine's multiply-adds on live samples."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.challenge.comparison import compare, plan_candidate
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table
from espalier.inference import compile
from espalier.inference.options import Filter
from espalier.progress import Watch

NAME = "ceiling"
OURS = "espalier"
ALIVE_SAMPLES = 4096


def jobs(settings: Settings) -> list[Job]:
    """A network with one thread and with all of them."""
    return [partial(measure, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each number of threads."""
    title = label(name)
    network = settings.open(name, watch)
    inputs = settings.inputs(network.inputs, watch)
    with watch(f"{title}: compiling without merging", "layers") as progress:
        plan = compile(
            network,
            merge=False,
            fixed_point=False,
            threads=settings.threads,
            memory=settings.memory,
            progress=progress,
        )
    batches: list[tuple[str, Any, Filter]] = [("the inputs, zero filter", inputs, "zero")]
    if plan.saturated is not None:
        full = np.full((ALIVE_SAMPLES, network.inputs), plan.saturated, np.float32)
        batches.append(("all alive, no filter", full, "none"))
    records = []
    for (samples, batch, filter), threads in product(batches, sorted({1, settings.threads})):
        plan.threads = threads
        with watch(f"{title}: {samples}, {threads} threads", "runs") as progress:
            comparison = compare(
                [plan_candidate(OURS, plan, filter)],
                network,
                batch,
                replace(settings, threads=threads),
                progress,
            )
        times = comparison.times[OURS]
        report = plan.run(batch[: times.measured_samples], filter).report()
        live = report.live_operations * times.samples / max(times.measured_samples, 1)
        records.append(
            {
                "network": title,
                "neurons": network.inputs,
                "layers": len(network),
                "batch": samples,
                "threads": threads,
                **times.to_record(),
                "tile": plan.tile,
                "effective_operations": report.effective_operations,
                "live_operations": live,
                "live_operations_per_second": live / times.seconds.median,
                "ceiling": comparison.ceiling.to_dict(),
                "share_of_peak": comparison.share_of_peak(OURS, live).to_dict(),
            }
        )
    return records


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "No merging and no fixed points: rows are grouped by their columns and dead samples "
        "dropped, nothing else. The whole run counts, from the sparse inputs to the categories.",
        "Live multiply-adds: connections times samples that are not all zero, layer by layer; of a "
        "first layer that is taken non-zero by non-zero, only those it met.",
        f"All alive: {ALIVE_SAMPLES:,} dense samples full of the clip, which stay so in every "
        "layer: the kernels with nothing to load, drop or pack.",
        "The ceiling is a loop of multiply-adds in registers, measured in every round beside it, "
        "with as many threads.",
    ]


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Grouping and zero filter only: share of the multiply-add ceiling",
        Column("network", lambda r: str(r["network"])),
        Column("samples", lambda r: str(r["batch"])),
        Column("threads", lambda r: str(r["threads"])),
        Column("time", lambda r: text.spread(r["seconds"])),
        Column("rounds", text.measured),
        Column("live multiply-adds", lambda r: text.power(r["live_operations"])),
        Column("GMAC/s", lambda r: text.digits(r["live_operations_per_second"] / 1e9)),
        Column("ceiling", lambda r: text.digits(r["ceiling"]["median"] / 1e9)),
        Column("share of ceiling", lambda r: text.shares(r["share_of_peak"])),
    ),
)
