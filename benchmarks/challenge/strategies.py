"""Section `strategies`: the FSSL paper's Tables IV to IX for this machine, on a CPU or a GPU.

Source: Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC 2019.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import (
    Candidate,
    Work,
    check,
    compare,
    pilot_samples,
    reference,
)
from benchmarks.challenge.device_comparison import compare_on_device, run_plan
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import published, text
from benchmarks.harness.process import too_large
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.errors import DeviceMemoryError
from espalier.inference import (
    STRATEGIES,
    GpuPlan,
    GpuStrategyPlan,
    StrategyPlan,
    compile,
    compile_strategy,
)
from espalier.progress import Watch

NAME = "strategies"
OURS = "espalier"
PAPER_NAMES: dict[str, published.Strategy] = {
    "buffer": "buffer",
    "no-buffer": "no buffer",
    "filter": "filter",
}
PlanT = TypeVar("PlanT", StrategyPlan, GpuStrategyPlan)
DEVICES: tuple[published.Device, ...] = ("GTX-1080", "V100")
BYTES_PER_CONNECTION = 16  # the weights by output, for bias and clamp, and by input


def jobs(settings: Settings) -> list[Job]:
    """All three strategies of a network, interleaved."""
    return [partial(measure, settings, name) for name in settings.names]


def gpu_jobs(settings: Settings) -> list[Job]:
    """Three strategies and our engine, interleaved, network by network."""
    return [partial(measure_on_gpu, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each strategy; one that says why where the weights do not fit in memory."""
    title = label(name)
    network = settings.open(name, watch)
    if reason := too_large(network.connections, BYTES_PER_CONNECTION):
        return [skipped(title, strategy, reason) for strategy in STRATEGIES]
    inputs = settings.inputs(network.inputs, watch)
    with watch(f"{title}: converting weights", "steps"):
        plan = StrategyPlan(network, STRATEGIES[0], settings.threads)
    candidates = [_candidate(plan, strategy) for strategy in STRATEGIES]
    with watch(f"{title}: strategies interleaved", "runs") as progress:
        comparison = compare(candidates, network, inputs, settings, progress)
    size = (network.inputs, len(network))
    operations = network.connections * inputs.shape[0]
    return [
        {
            "network": title,
            "neurons": size[0],
            "layers": size[1],
            "strategy": strategy,
            "rate": operations / comparison.times[strategy].seconds.median,
            "published_seconds": _published(strategy, size),
        }
        | comparison.times[strategy].to_record()
        for strategy in STRATEGIES
    ]


def measure_on_gpu(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each; one that says why where memory is short."""
    title, device = label(name), settings.gpu()
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
    runs = {who: partial(run_plan, each, inputs) for who, each in plans.items()}
    with watch(f"{title}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    return [
        {
            "network": title,
            "strategy": who,
            "gpu": device.name,
            "over_ours": times[who].layers.over(times[OURS].layers).to_dict(),
            "published_seconds": _published(who, size),
        }
        | times[who].to_record(inputs.shape[0])
        for who in runs
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Sparse samples times sparse weights, no shortcut but, with filter, dropping samples that "
        "died; the three run interleaved in one process. Time: all layers, the weights in memory.",
        "The paper's columns are its Tables IV to VI, for 60,000 inputs; '-' where it ran out of "
        "memory. Its rates are computed here from its times, for its Tables VII to IX do not "
        "always agree with them.",
    ]


def gpu_notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Sparse samples times sparse weights by cuSPARSE's SpGEMM; bias, clamp and the removal of "
        "zeros are kernels of ours. All were checked against float64 before. Where memory is short "
        "the samples run in halves.",
        "The paper's columns are its Tables IV to VI, for 60,000 inputs; '-' where it ran out of "
        "memory.",
    ]


def _published(strategy: str, size: tuple[int, int]) -> dict[published.Device, float | None]:
    """The paper's seconds for a network of this size, by device."""
    if strategy not in PAPER_NAMES:
        return dict.fromkeys(DEVICES)
    name = PAPER_NAMES[strategy]
    return {device: published.FSSL_SECONDS[device, name].get(size) for device in DEVICES}


def _variant(plan: PlanT, strategy: Any) -> PlanT:
    variant = copy.copy(plan)  # the weights are held once
    variant.strategy = strategy
    return variant


def _candidate(plan: StrategyPlan, strategy: Any) -> Candidate:
    variant = _variant(plan, strategy)

    def prepare(batch: Any) -> Work:
        return lambda: variant.run(batch)

    def outputs(batch: Any) -> NDArray[np.float32]:
        return np.asarray(variant.run(batch, output="dense").activations)

    return Candidate(strategy, prepare, outputs)


def _paper_seconds(device: published.Device) -> Column:
    return Column(device, lambda r: text.seconds(r["published_seconds"][device]))


def _paper_rate(device: published.Device) -> Column:
    def rate(record: Record) -> str:
        seconds = record["published_seconds"][device]
        if seconds is None:
            return text.NOTHING
        return text.power(published.rate(record["neurons"], record["layers"], seconds))

    return Column(device, rate)


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "FSSL Tables IV to VI: time of the strategies",
        Column("network", lambda r: str(r["network"])),
        Column("strategy", lambda r: str(r["strategy"])),
        Column("this machine", lambda r: text.spread(r["seconds"])),
        Column("rounds", text.measured),
        *map(_paper_seconds, DEVICES),
    ),
    Table(
        "FSSL Tables VII to IX: rate of the strategies, connections times inputs per second",
        Column("network", lambda r: str(r["network"])),
        Column("strategy", lambda r: str(r["strategy"])),
        Column("this machine", lambda r: text.power(r["rate"])),
        *map(_paper_rate, DEVICES),
    ),
)
GPU_SECTION = Section(
    NAME,
    gpu_jobs,
    gpu_notes,
    Table(
        "FSSL Tables IV to VI on a GPU",
        Column("network", lambda r: str(r["network"])),
        Column("strategy", lambda r: str(r["strategy"])),
        Column("layers", lambda r: text.spread(r["seconds"])),
        Column("host to host", lambda r: text.spread(r["whole_seconds"])),
        Column("over espalier", lambda r: text.ratios(r["over_ours"])),
        *map(_paper_seconds, DEVICES),
    ),
)
