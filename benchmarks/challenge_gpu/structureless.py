"""Section `structureless` on a GPU: random networks, where kernels decide, against cuSPARSE."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import check, pilot_samples, reference
from benchmarks.challenge.device_comparison import (
    Seconds,
    compare_on_device,
    measure_bandwidth,
    seconds_of,
)
from benchmarks.challenge.settings import Settings, Size
from benchmarks.challenge.structureless import rectified_noise
from benchmarks.challenge_gpu.spmm_peer import SpmmPeer
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.cuda import open_device, parse_device
from espalier.errors import DeviceMemoryError
from espalier.generate import random_network
from espalier.inference import GpuPlan, compile
from espalier.network import Network
from espalier.progress import Watch

NAME = "structureless"
OURS, PEER = "espalier", "cuSPARSE SpMM"
_WEIGHT_BYTES = 8


def jobs(settings: Settings) -> list[Job]:
    """Both on one network, interleaved."""
    return [partial(measure, settings, size) for size in settings.structureless]


def measure(settings: Settings, size: Size, watch: Watch) -> list[Record]:
    """A record for each candidate."""
    name, device = str(size), open_device(parse_device(settings.device) or 0)
    network = Network(list(random_network(*size)))
    batch = rectified_noise(settings.batch, size.neurons)
    with watch(f"{name}: preparing", "steps"):
        plan = compile(network, device=settings.device, memory=settings.memory)
        assert isinstance(plan, GpuPlan)
        try:
            peer = SpmmPeer(network, batch, device)
        except DeviceMemoryError as error:
            return [skipped(name, PEER, error)]
        few = pilot_samples(network, batch.shape[0])
        expected = reference(network, batch[:few])
        check(OURS, _outputs(plan, batch[:few]), expected)
        peer.run()
        check(PEER, peer.outputs()[:few], expected)
        bandwidth = measure_bandwidth(device)
    runs: dict[str, Callable[[], Seconds]] = {OURS: partial(_run, plan, batch), PEER: peer.run}
    with watch(f"{name}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    work = network.connections * settings.batch
    least = _least_bytes(network, settings.batch)
    return [
        {
            "network": name,
            "name": who,
            "gpu": device.name,
            "samples": settings.batch,
            "measured_samples": settings.batch,
            "multiply_adds": work,
            "multiply_adds_per_second": work / times[who].layers.median,
            "bandwidth": bandwidth,
            "share_of_bandwidth": least / times[who].layers.median / bandwidth,
            "over_ours": times[who].layers.over(times[OURS].layers).to_dict(),
        }
        | times[who].to_record()
        for who in runs
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Random columns, weights and biases, 32 connections per row, "
        f"{settings.batch:,} dense samples; all shortcuts are on, none applies. Both were checked "
        "against float64 before.",
        "Share of bandwidth: every activation read and written once a layer and every weight read "
        "once, over the time, as part of what a copy on the device reaches. Activations kept in "
        "shared memory need not move at all: a share may exceed 1.",
    ]


def _run(plan: GpuPlan, batch: Any) -> Seconds:
    return seconds_of(plan.run(batch))


def _outputs(plan: GpuPlan, batch: Any) -> NDArray[np.float32]:
    return np.asarray(plan.run(batch).activations)


def _least_bytes(network: Network, samples: int) -> int:
    """Bytes that move if every activation and weight moves once a layer."""
    activations = sum(layer.inputs + layer.outputs for layer in network)
    return 4 * samples * activations + _WEIGHT_BYTES * network.connections


SECTION = Section(
    NAME,
    (
        Table(
            "Networks without structure on a GPU",
            (
                Column("network", lambda r: str(r["network"])),
                Column("who", lambda r: str(r["name"])),
                Column("layers", lambda r: text.spread(r["seconds"])),
                Column("host to host", lambda r: text.spread(r["whole_seconds"])),
                Column("GMAC/s", lambda r: text.digits(r["multiply_adds_per_second"] / 1e9)),
                Column("share of bandwidth", lambda r: f"{r['share_of_bandwidth']:.0%}"),
                Column("over espalier", lambda r: text.ratios(r["over_ours"])),
            ),
        ),
    ),
    jobs,
    notes,
)
