"""Section `shortcuts` on a GPU: the challenge with and without merging, beside the champions."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.challenge.device_comparison import (
    Seconds,
    compare_on_device,
    published_over,
    seconds_of,
)
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import published, text
from benchmarks.harness.section import Column, Job, Record, Section, Table
from espalier.cuda import open_device, parse_device
from espalier.errors import EspalierError
from espalier.inference import GpuPlan, compile
from espalier.network import Network
from espalier.progress import Progress, Watch

NAME = "shortcuts"
ALL, EXACT = "all shortcuts", "grouping and zero filter"


def jobs(settings: Settings) -> list[Job]:
    """Both variants of a network, interleaved."""
    return [partial(measure, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each variant, checked against the CPU's categories first."""
    title, device = label(name), open_device(parse_device(settings.device) or 0)
    start = time.perf_counter()
    network = settings.open(name, watch)
    loading = time.perf_counter() - start
    inputs = settings.inputs(network.inputs, watch)
    with watch(f"{title}: the CPU's answer", "layers") as progress:
        expected = compile(network, threads=settings.threads, progress=progress).run(inputs)
    plans: dict[str, GpuPlan] = {}
    for variant in (ALL, EXACT):
        with watch(f"{title}: compiling for {variant}", "layers") as progress:
            plans[variant] = _plan(network, variant, settings, progress)
    runs: dict[str, Callable[[], Seconds]] = {}
    for variant, plan in plans.items():
        _check(f"{title}, {variant}", plan.run(inputs).categories, expected.categories)
        runs[variant] = partial(_run, plan, inputs)
    with watch(f"{title}: interleaved", "runs") as progress:
        times = compare_on_device(runs, settings.rounds, settings.limit, progress)
    size = network.inputs, len(network)
    comparable = inputs.shape[0] == published.INPUTS
    best = published.BEST_GPU.get(size) if comparable else None
    exact = published.BEST_EXACT_GPU.get(size) if comparable else None
    operations = network.connections * inputs.shape[0]
    return [
        {
            "network": title,
            "name": variant,
            "gpu": device.name,
            "samples": inputs.shape[0],
            "measured_samples": inputs.shape[0],
            "load_seconds": loading,
            "compile_seconds": plans[variant].compile_seconds,
            "streamed": not plans[variant].resident,
            "categories": len(expected.categories),
            "rate": operations / times[variant].layers.median,
            "best_gpu_seconds": best.seconds if best else None,
            "best_gpu": best.by if best else None,
            "best_gpu_over_ours": published_over(times[variant].layers, best),
            "exact_gpu_seconds": exact.seconds if exact else None,
            "exact_gpu": exact.by if exact else None,
            "exact_gpu_over_ours": published_over(times[variant].layers, exact),
        }
        | times[variant].to_record()
        for variant in plans
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Layers: median between events on the device, samples in its memory already, as published "
        "times count; host to host: from the caller's matrix to the categories, copies and all. "
        "Loading, compiling and copying weights are in neither.",
        "Categories were equal to the CPU's, exactly, before anything was timed. 'All shortcuts' "
        "merges equal neurons and stops at fixed points; 'grouping and zero filter' does neither.",
        "Published times are for 60,000 inputs and other GPUs; SNICIT is approximate in general, "
        "'best exact' is UIUC's or XY's.",
    ]


def _plan(network: Network, variant: str, settings: Settings, progress: Progress) -> GpuPlan:
    every = variant == ALL
    plan = compile(
        network,
        device=settings.device,
        merge=every,
        fold=every,
        fixed_point=every,
        memory=settings.memory,
        progress=progress,
    )
    assert isinstance(plan, GpuPlan)
    return plan


def _run(plan: GpuPlan, inputs: object) -> Seconds:
    return seconds_of(plan.run(inputs, "zero"))


def _check(name: str, found: object, expected: object) -> None:
    if not np.array_equal(found, expected):  # type: ignore[arg-type]
        raise EspalierError(f"{name}: categories differ from the CPU's; it is not timed")


SECTION = Section(
    NAME,
    (
        Table(
            "The challenge on a GPU",
            (
                Column("network", lambda r: str(r["network"])),
                Column("who", lambda r: str(r["name"])),
                Column("compile", lambda r: text.seconds(r["compile_seconds"])),
                Column("layers", lambda r: text.spread(r["seconds"])),
                Column("host to host", lambda r: text.spread(r["whole_seconds"])),
                Column("rate", lambda r: text.power(r["rate"])),
                Column("best GPU", lambda r: text.seconds(r["best_gpu_seconds"])),
                Column("over ours", lambda r: text.ratio(r["best_gpu_over_ours"])),
                Column("best exact", lambda r: text.seconds(r["exact_gpu_seconds"])),
                Column("over ours", lambda r: text.ratio(r["exact_gpu_over_ours"])),
            ),
        ),
    ),
    jobs,
    notes,
)
