"""Section `strategies` on a GPU: the FSSL paper's Tables IV to VI by cuSPARSE, and our engine."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np

from benchmarks.challenge.comparison import check, pilot_samples, reference
from benchmarks.challenge.device_comparison import Seconds, compare_on_device, seconds_of
from benchmarks.challenge.settings import Settings, label
from benchmarks.challenge.strategies import DEVICES, PAPER_NAMES
from benchmarks.harness import published, text
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.cuda import open_device, parse_device
from espalier.errors import DeviceMemoryError
from espalier.inference import GpuPlan, GpuStrategyPlan, compile, compile_strategy
from espalier.progress import Watch

NAME = "strategies"
OURS = "espalier"


def jobs(settings: Settings) -> list[Job]:
    """Three strategies and our engine interleaved, network by network."""
    return [partial(measure, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each; one that says why where memory is short."""
    title, device = label(name), open_device(parse_device(settings.device) or 0)
    network = settings.open(name, watch)
    inputs = settings.inputs(network.inputs, watch)
    size = network.inputs, len(network)
    with watch(f"{title}: converting weights", "steps"):
        try:
            plan = compile_strategy(network, "buffer", device=settings.device)
        except DeviceMemoryError as error:
            return [skipped(title, each, error) for each in PAPER_NAMES]
        ours = compile(network, device=settings.device, memory=settings.memory)
        assert isinstance(plan, GpuStrategyPlan) and isinstance(ours, GpuPlan)
        plans: dict[str, GpuStrategyPlan | GpuPlan] = {
            strategy: _variant(plan, strategy) for strategy in PAPER_NAMES
        }
        plans[OURS] = ours
        few = inputs[: pilot_samples(network, inputs.shape[0])]
        expected = reference(network, few)
        for who, each in plans.items():
            check(who, np.asarray(each.run(few, output="dense").activations), expected)
    runs = {who: partial(_run, each, inputs) for who, each in plans.items()}
    with watch(f"{title}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    return [
        {
            "network": title,
            "strategy": who,
            "gpu": device.name,
            "samples": inputs.shape[0],
            "measured_samples": inputs.shape[0],
            "over_ours": times[who].layers.over(times[OURS].layers).to_dict(),
            "published_seconds": {
                each: published.FSSL_SECONDS[each, PAPER_NAMES[who]].get(size)
                if who in PAPER_NAMES
                else None
                for each in DEVICES
            },
        }
        | times[who].to_record()
        for who in runs
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Sparse samples times sparse weights by cuSPARSE's SpGEMM; bias, clamp and the removal of "
        "zeros are kernels of ours. All were checked against float64 before. Where memory is short "
        "the samples run in halves.",
        "The paper's columns are its Tables IV to VI, for 60,000 inputs; '-' where it ran out of "
        "memory.",
    ]


def _variant(plan: GpuStrategyPlan, strategy: str) -> GpuStrategyPlan:
    variant = copy.copy(plan)  # the weights are held once
    variant.strategy = strategy
    return variant


def _run(plan: GpuStrategyPlan | GpuPlan, inputs: Any) -> Seconds:
    return seconds_of(plan.run(inputs))


def _paper(device: published.Device) -> Column:
    return Column(device, lambda r: text.seconds(r["published_seconds"][device]))


SECTION = Section(
    NAME,
    (
        Table(
            "FSSL Tables IV to VI on a GPU",
            (
                Column("network", lambda r: str(r["network"])),
                Column("strategy", lambda r: str(r["strategy"])),
                Column("layers", lambda r: text.spread(r["seconds"])),
                Column("host to host", lambda r: text.spread(r["whole_seconds"])),
                Column("over espalier", lambda r: text.ratios(r["over_ours"])),
                *map(_paper, DEVICES),
            ),
        ),
    ),
    jobs,
    notes,
)
