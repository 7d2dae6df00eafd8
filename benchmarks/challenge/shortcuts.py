"""Section `shortcuts`: every network as `espalier.infer` runs it, beside published results."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.challenge.comparison import LEAST_ROUNDS
from benchmarks.challenge.device_comparison import Seconds, compare_on_device, run_plan
from benchmarks.challenge.settings import Settings, label
from benchmarks.harness import published, text
from benchmarks.harness.alone import measure_alone
from benchmarks.harness.process import peak_memory
from benchmarks.harness.section import Column, Job, Record, Section, Table
from espalier.errors import EspalierError
from espalier.inference import GpuPlan, Result, compile
from espalier.network import Network
from espalier.progress import Progress, Watch
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

NAME = "shortcuts"
OURS = "espalier"
ALL, EXACT = "all shortcuts", "grouping and zero filter"  # variants on a GPU


def jobs(settings: Settings) -> list[Job]:
    """Every network in a process of its own."""

    def job(name: str) -> Job:
        alone = partial(measure, settings, name)
        return lambda watch: [measure_alone(alone, label(name), watch)]

    return [job(name) for name in settings.names]


def gpu_jobs(settings: Settings) -> list[Job]:
    """Both variants of a network, interleaved."""
    return [partial(measure_on_gpu, settings, name) for name in settings.names]


def measure(settings: Settings, name: str, watch: Watch) -> Record:
    """Inputs, network, plan and runs of one network, in this process."""
    title = label(name)
    start = time.perf_counter()
    network = settings.open(name, watch)
    loading = time.perf_counter() - start
    start = time.perf_counter()
    inputs = settings.inputs(network.inputs, watch)
    making = time.perf_counter() - start
    peak_of_inputs = peak_memory()
    with watch(f"{title}: compiling", "layers") as progress:
        plan = compile(network, threads=settings.threads, memory=settings.memory, progress=progress)
    with watch(f"{title}: first run", "steps") as progress:
        first = plan.run(inputs, progress=progress)
    fitting = int(settings.limit / first.seconds) - 1
    rounds = min(settings.rounds, max(min(LEAST_ROUNDS, settings.rounds), fitting))
    with watch(f"{title}: running", "runs") as progress:
        times = time_interleaved(
            {OURS: lambda: plan.run(inputs)}, rounds=rounds, warm_ups=0, progress=progress
        )
    report = first.report()
    size = (network.inputs, len(network))
    cpu, comparable = published.BEST_CPU.get(size), report.samples == published.INPUTS
    return {
        "network": title,
        "neurons": size[0],
        "layers": size[1],
        "connections": report.connections,
        "samples": report.samples,
        "measured_samples": report.samples,
        "input_connections": int(inputs.nnz if hasattr(inputs, "nnz") else (inputs != 0).sum()),
        "inputs_seconds": making,
        "load_seconds": loading,
        "compile_seconds": plan.compile_seconds,
        "first_run_seconds": first.seconds,
        "seconds": times[OURS].to_dict(),
        "rounds": rounds,
        "rate": report.nominal_operations / times[OURS].median,
        "nominal_operations": report.nominal_operations,
        "effective_operations": report.effective_operations,
        "live_operations": report.live_operations,
        "categories": report.categories,
        "verdict": _verdict(settings, first),
        "streamed": not plan.resident,
        "peak_bytes": peak_memory(),
        "peak_bytes_of_inputs": peak_of_inputs,
        "shortcuts": [vars(shortcut) for shortcut in report.shortcuts],
        "official_categories": published.SIZES[size[0]].categories if cpu else None,
        **_beside("best_cpu", cpu, comparable, times[OURS]),
        **_beside("best_gpu", published.BEST_GPU.get(size), comparable, times[OURS]),
    }


def measure_on_gpu(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each variant, checked against the CPU's categories first."""
    title, device = label(name), settings.gpu()
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
        runs[variant] = partial(run_plan, plan, inputs, "zero")
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
            "load_seconds": loading,
            "compile_seconds": plans[variant].compile_seconds,
            "streamed": not plans[variant].resident,
            "categories": len(expected.categories),
            "rate": operations / times[variant].layers.median,
        }
        | _beside("best_gpu", best, comparable, times[variant].layers)
        | _beside("exact_gpu", exact, comparable, times[variant].layers)
        | times[variant].to_record(inputs.shape[0])
        for variant in plans
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured, and what 1,920 layers cost over 120."""
    said = [
        "Every network in a process of its own; run: from the caller's sparse matrix to the "
        "categories, the first run left out. Compile includes generating the layers, which are "
        "never all in memory. Peak: resident memory of the process, inputs and Python included.",
        "Rate: nominal connections times inputs per second, the challenge's own figure; effective: "
        "multiply-adds that were really done.",
        "Published times are for 60,000 inputs, other machines and other years; those of GPUs "
        "start with the activations on the GPU. SNICIT is approximate in general.",
        "Official categories are those of the official networks and inputs. Generated networks "
        "differ from them in the permutations of their blocks, so their counts may differ; only a "
        "truth file decides whether a run passed.",
    ]
    said += [f"{record['network']}: {record['verdict']}" for record in records if record["verdict"]]
    by_size = {(record["neurons"], record["layers"]): record for record in records}
    shallow, deep = published.DEPTHS[0], published.DEPTHS[-1]
    for neurons in published.SIZES:
        pair = [by_size.get((neurons, layers)) for layers in (deep, shallow)]
        if pair[0] is not None and pair[1] is not None:
            times = [record["seconds"]["median"] for record in pair if record is not None]
            said.append(
                f"{neurons} neurons: {deep} layers run {times[0] / times[1]:.2f} times as long as "
                f"{shallow} layers (medians of processes run one after the other)."
            )
    return said


def gpu_notes(settings: Settings, records: list[Record]) -> list[str]:
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


def _check(name: str, found: object, expected: object) -> None:
    if not np.array_equal(found, expected):  # type: ignore[arg-type]
        raise EspalierError(f"{name}: categories differ from the CPU's; it is not timed")


def _verdict(settings: Settings, result: Result) -> str | None:
    truth = settings.categories()
    if truth is None:
        return None
    wanted = set(truth[truth < result.report().samples].tolist())
    found = set(result.categories.tolist())
    if found == wanted:
        return f"PASSED: exactly the {len(wanted):,} categories of {label(str(settings.truth))}"
    return (
        f"FAILED: {len(wanted - found):,} missing and {len(found - wanted):,} too many of "
        f"{len(wanted):,} categories of {label(str(settings.truth))}"
    )


def _beside(name: str, best: published.Best | None, comparable: bool, seconds: Spread) -> Record:
    """A published result, and how many times as long it took where the inputs are as many."""
    over = best.seconds / seconds.median if best is not None and comparable else None
    return {
        f"{name}_seconds": best.seconds if best else None,
        name: best.by if best else None,
        f"{name}_over_ours": over,
    }


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "All shortcuts: time",
        Column("network", lambda r: str(r["network"])),
        Column("inputs", lambda r: text.count(r["samples"])),
        Column("make inputs", lambda r: text.seconds(r["inputs_seconds"])),
        Column("compile", lambda r: text.seconds(r["compile_seconds"])),
        Column("run", lambda r: text.spread(r["seconds"])),
        Column("rounds", text.measured),
        Column("best CPU", lambda r: text.seconds(r["best_cpu_seconds"])),
        Column("CPU over ours", lambda r: text.ratio(r["best_cpu_over_ours"])),
        Column("best GPU", lambda r: text.seconds(r["best_gpu_seconds"])),
        Column("GPU over ours", lambda r: text.ratio(r["best_gpu_over_ours"])),
    ),
    Table(
        "All shortcuts: work",
        Column("network", lambda r: str(r["network"])),
        Column("connections", lambda r: text.count(r["connections"])),
        Column("load", lambda r: text.seconds(r["load_seconds"])),
        Column("rate", lambda r: text.power(r["rate"])),
        Column("nominal", lambda r: text.power(r["nominal_operations"])),
        Column("effective", lambda r: text.power(r["effective_operations"])),
        Column("categories", lambda r: text.count(r["categories"])),
        Column("official", lambda r: text.count(r["official_categories"])),
        Column("peak memory", lambda r: text.gibibytes(r["peak_bytes"])),
    ),
)
GPU_SECTION = Section(
    NAME,
    gpu_jobs,
    gpu_notes,
    Table(
        "The challenge on a GPU",
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
)
