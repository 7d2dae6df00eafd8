"""Section `strategies`: the FSSL paper's Tables IV to IX for this machine.

Source: Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC 2019.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import Candidate, Work, compare
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import published, text
from benchmarks.harness.process import too_large
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.inference import STRATEGIES, StrategyPlan
from espalier.progress import Watch

NAME = "strategies"
PAPER_NAMES: dict[str, published.Strategy] = {
    "buffer": "buffer",
    "no-buffer": "no buffer",
    "filter": "filter",
}
DEVICES: tuple[published.Device, ...] = ("GTX-1080", "V100")
BYTES_PER_CONNECTION = 16  # the weights by output, for bias and clamp, and by input


def jobs(settings: Settings) -> list[Job]:
    """All three strategies of a network, interleaved."""
    return [partial(measure, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each strategy; one that says why where the weights do not fit in memory."""
    title = label(name)
    network = settings.open(name, watch)
    if reason := too_large(network.connections, BYTES_PER_CONNECTION):
        return [skipped(title, strategy, reason) for strategy in STRATEGIES]
    inputs = settings.inputs(network.inputs, watch)
    with watch(f"{title}: converting weights", "steps"):
        plan = StrategyPlan(network, STRATEGIES[0], settings.threads)
    candidates = [_contestant(plan, strategy) for strategy in STRATEGIES]
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
            "published_seconds": {
                device: published.FSSL_SECONDS[device, PAPER_NAMES[strategy]].get(size)
                for device in DEVICES
            },
        }
        | comparison.times[strategy].to_record()
        for strategy in STRATEGIES
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


def _contestant(plan: StrategyPlan, strategy: Any) -> Candidate:
    variant = copy.copy(plan)  # the weights are held once
    variant.strategy = strategy

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
    (
        Table(
            "FSSL Tables IV to VI: time of the strategies",
            (
                Column("network", lambda r: str(r["network"])),
                Column("strategy", lambda r: str(r["strategy"])),
                Column("this machine", lambda r: text.spread(r["seconds"])),
                Column("rounds", text.measured),
                *map(_paper_seconds, DEVICES),
            ),
        ),
        Table(
            "FSSL Tables VII to IX: rate of the strategies, connections times inputs per second",
            (
                Column("network", lambda r: str(r["network"])),
                Column("strategy", lambda r: str(r["strategy"])),
                Column("this machine", lambda r: text.power(r["rate"])),
                *map(_paper_rate, DEVICES),
            ),
        ),
    ),
    jobs,
    notes,
)
