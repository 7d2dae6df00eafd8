"""Section `structureless`: random networks, where no shortcut applies and kernels decide."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import (
    Comparison,
    check,
    compare,
    pilot_samples,
    plan_candidate,
    reference,
)
from benchmarks.challenge.cusparse_peer import SpmmPeer
from benchmarks.challenge.device_comparison import (
    Seconds,
    compare_on_device,
    measure_bandwidth,
    run_plan,
)
from benchmarks.challenge.peer_candidates import best_peers, installed_peers
from benchmarks.challenge.settings import Settings, Size
from benchmarks.harness import text
from benchmarks.harness.process import too_large
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.errors import DeviceMemoryError
from espalier.generate import random_network
from espalier.inference import GpuPlan, compile
from espalier.network import Network
from espalier.progress import Watch

NAME = "structureless"
OURS, GPU_PEER = "espalier", "cuSPARSE SpMM"
WEIGHT_BYTES = 8  # of a connection on the device
BYTES_PER_CONNECTION = 8 * 6  # the network, espalier's plan and one copy for each peer


def jobs(settings: Settings) -> list[Job]:
    """All candidates on one network, interleaved."""
    return [partial(measure, settings, size) for size in settings.structureless]


def gpu_jobs(settings: Settings) -> list[Job]:
    """Ours and cuSPARSE on one network, interleaved."""
    return [partial(measure_on_gpu, settings, size) for size in settings.structureless]


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


def measure_on_gpu(settings: Settings, size: Size, watch: Watch) -> list[Record]:
    """A record for each candidate."""
    name, device = str(size), settings.gpu()
    network = Network(list(random_network(*size)))
    batch = rectified_noise(settings.batch, size.neurons)
    with watch(f"{name}: preparing", "steps"):
        plan = compile(network, device=settings.device, memory=settings.memory)
        assert isinstance(plan, GpuPlan)
        try:
            peer = SpmmPeer(network, batch, device)
        except DeviceMemoryError as error:
            return [skipped(name, GPU_PEER, error)]
        few = pilot_samples(network, batch.shape[0])
        expected = reference(network, batch[:few])
        check(OURS, _outputs(plan, batch[:few]), expected)
        peer.run()
        check(GPU_PEER, peer.outputs()[:few], expected)
        bandwidth = measure_bandwidth(device)
    runs: dict[str, Callable[[], Seconds]] = {
        OURS: partial(run_plan, plan, batch),
        GPU_PEER: peer.run,
    }
    with watch(f"{name}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    work = network.connections * settings.batch
    least = _least_bytes(network, settings.batch)
    return [
        {
            "network": name,
            "name": who,
            "gpu": device.name,
            "multiply_adds": work,
            "multiply_adds_per_second": work / times[who].layers.median,
            "bandwidth": bandwidth,
            "share_of_bandwidth": least / times[who].layers.median / bandwidth,
            "over_ours": times[who].layers.over(times[OURS].layers).to_dict(),
        }
        | times[who].to_record(settings.batch)
        for who in runs
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured, and the ratio to the best peer."""
    said = [
        f"Random columns, weights and biases, 32 connections per row, {settings.batch:,} dense "
        "samples of rectified noise, half of them zero as between the layers. All shortcuts are "
        "on; none applies.",
        "Multiply-adds per second count every connection for every sample, zeros too. The ceiling "
        "is a loop of multiply-adds in registers, measured in every round beside the others.",
    ]
    said += [
        f"{best['network']}: the best peer is {best['name']}; espalier is "
        f"{text.ratios(best['over_ours'])} as fast."
        for best in best_peers(records, "network")
    ]
    return said


def gpu_notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Random columns, weights and biases, 32 connections per row, "
        f"{settings.batch:,} dense samples; all shortcuts are on, none applies. Both were checked "
        "against float64 before.",
        "Share of bandwidth: every activation read and written once a layer and every weight read "
        "once, over the time, as part of what a copy on the device reaches. Activations kept in "
        "shared memory need not move at all: a share may exceed 1.",
    ]


def rectified_noise(samples: int, neurons: int) -> NDArray[np.float32]:
    """Dense samples as a layer of such a network would leave them, ``[samples, neurons]``."""
    noise = np.random.default_rng(0).standard_normal((samples, neurons), dtype=np.float32)
    return np.maximum(noise, 0.0, out=noise)


def _outputs(plan: GpuPlan, batch: Any) -> NDArray[np.float32]:
    return np.asarray(plan.run(batch).activations)


def _least_bytes(network: Network, samples: int) -> int:
    """Bytes that move if every activation and weight moves once a layer."""
    activations = sum(layer.inputs + layer.outputs for layer in network)
    return 4 * samples * activations + WEIGHT_BYTES * network.connections


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
    jobs,
    notes,
    Table(
        "Networks without structure",
        Column("network", lambda r: str(r["network"])),
        Column("who", lambda r: str(r["name"])),
        Column("time", lambda r: text.spread(r["seconds"])),
        Column("rounds", text.measured),
        Column("GMAC/s", lambda r: text.digits(r["multiply_adds_per_second"] / 1e9)),
        Column("share of ceiling", lambda r: text.shares(r["share_of_peak"])),
        Column("over espalier", lambda r: text.ratios(r["over_ours"])),
    ),
)
GPU_SECTION = Section(
    NAME,
    gpu_jobs,
    gpu_notes,
    Table(
        "Networks without structure on a GPU",
        Column("network", lambda r: str(r["network"])),
        Column("who", lambda r: str(r["name"])),
        Column("layers", lambda r: text.spread(r["seconds"])),
        Column("host to host", lambda r: text.spread(r["whole_seconds"])),
        Column("GMAC/s", lambda r: text.digits(r["multiply_adds_per_second"] / 1e9)),
        Column("share of bandwidth", lambda r: f"{r['share_of_bandwidth']:.0%}"),
        Column("over espalier", lambda r: text.ratios(r["over_ours"])),
    ),
)
