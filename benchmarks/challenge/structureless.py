"""Section `structureless`: random networks, where no shortcut applies and kernels decide."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import Comparison, compare
from benchmarks.challenge.engine import plan_candidate
from benchmarks.challenge.peer_candidates import installed_peers
from benchmarks.challenge.settings import Settings, Size
from benchmarks.harness import text
from benchmarks.harness.process import too_large
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.generate import random_network
from espalier.inference import compile
from espalier.network import Network
from espalier.progress import Watch

NAME = "structureless"
OURS = "espalier"
BYTES_PER_CONNECTION = 8 * 6  # the network, espalier's plan and one copy for each peer


def jobs(settings: Settings) -> list[Job]:
    """All candidates on one network, interleaved."""
    return [partial(measure, settings, size) for size in settings.structureless]


def measure(settings: Settings, size: Size, watch: Watch) -> list[Record]:
    """A record for each candidate and each peer that is not installed."""
    name = str(size)
    lazy = random_network(*size)
    if reason := too_large(lazy.connections, BYTES_PER_CONNECTION):
        return [skipped(name, "all", reason)]
    batch = rectified_noise(settings.batch, size.neurons)
    with watch(f"{name}: preparing all candidates", "steps"):
        network = Network(list(lazy))
        plan = compile(network, threads=settings.threads, memory=settings.memory)
        entries, missing = installed_peers(network, settings.batch, settings, filters=(False,))
    with watch(f"{name}: all candidates interleaved", "runs") as progress:
        candidates = [plan_candidate(OURS, plan, "unique")]
        candidates += [entry.candidate for entry in entries]
        comparison = compare(candidates, network, batch, settings, progress)
    multiply_adds = network.connections * settings.batch
    facts = {"network": name, "neurons": size.neurons, "layers": size.layers}
    records = [
        facts
        | {"name": OURS, "peer": None, "slab": None}
        | _figures(comparison, OURS, multiply_adds)
    ]
    records += [
        facts
        | {"name": entry.candidate.name, "peer": entry.peer, "slab": entry.slab}
        | _figures(comparison, entry.candidate.name, multiply_adds)
        for entry in entries
    ]
    return records + [record | {"network": name} for record in missing]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured, and the ratio to the best peer."""
    said = [
        f"Random columns, weights and biases, 32 connections per row, {settings.batch:,} dense "
        "samples of rectified noise, half of them zero as between the layers. All shortcuts are "
        "on; none applies.",
        "Multiply-adds per second count every connection for every sample, zeros too. The ceiling "
        "is a loop of multiply-adds in registers, measured in every round beside the others.",
    ]
    for network in dict.fromkeys(record["network"] for record in records):
        peers_measured = [
            record for record in records if record["network"] == network and record.get("peer")
        ]
        if peers_measured:
            best = min(peers_measured, key=lambda record: record["seconds"]["median"])
            said.append(
                f"{network}: the best peer is {best['name']}; espalier is "
                f"{text.ratios(best['over_ours'])} as fast."
            )
    return said


def rectified_noise(samples: int, neurons: int) -> NDArray[np.float32]:
    """Dense samples as a layer of such a network would leave them, ``[samples, neurons]``."""
    noise = np.random.default_rng(0).standard_normal((samples, neurons), dtype=np.float32)
    return np.maximum(noise, 0.0, out=noise)


def _figures(comparison: Comparison, name: str, multiply_adds: int) -> Record:
    times = comparison.times[name]
    return {
        **times.to_record(),
        "multiply_adds": multiply_adds,
        "multiply_adds_per_second": multiply_adds / times.seconds.median,
        "ceiling": comparison.ceiling.to_dict(),
        "share_of_peak": comparison.share_of_peak(name, multiply_adds).to_dict(),
        "over_ours": times.seconds.over(comparison.times[OURS].seconds).to_dict(),
    }


SECTION = Section(
    NAME,
    (
        Table(
            "Networks without structure",
            (
                Column("network", lambda r: str(r["network"])),
                Column("who", lambda r: str(r["name"])),
                Column("time", lambda r: text.spread(r["seconds"])),
                Column("rounds", text.measured),
                Column("GMAC/s", lambda r: text.digits(r["multiply_adds_per_second"] / 1e9)),
                Column("share of ceiling", lambda r: text.shares(r["share_of_peak"])),
                Column("over espalier", lambda r: text.ratios(r["over_ours"])),
            ),
        ),
    ),
    jobs,
    notes,
)
