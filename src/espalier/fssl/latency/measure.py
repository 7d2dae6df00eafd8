"""Time the layers of a network at many widths: from the cache, or measured now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import torch
from torch import Tensor

from espalier.fssl.groups.groups import INPUT, Groups, LayerUse
from espalier.fssl.latency.overhead import LayerOverhead, Overhead, measure_overhead
from espalier.fssl.latency.probes import (
    CSR,
    DENSE,
    LayerProbes,
    Point,
    Points,
    Probe,
    points,
)
from espalier.kernels import instruction_set
from espalier.progress import Progress
from espalier.timing.cache import MachineCache
from espalier.timing.interleave import minimum_seconds

FORMAT = 1
GATHER, OVERHEAD = "gather", "gaps"  # the words of the cache
# Least of so many rounds over everything: a slow moment shorter than a round harms nothing, and
# where cores are shared with other machines the most are needed.
_ROUNDS = 4, 30
_RATIO, _SLACK, _AGREE = 1.05, 2e-6, 3
# Shorter probes are warmed up before each timing; longer ones fill the caches themselves.
_WARM = 2e-3
# The share of a layer's points whose fastest rounds must agree for its times to be cached.
_STEADY_SHARE = 0.9
_SHARES = 16, 8, 4, 2, 1


@dataclass(frozen=True)
class Task:
    """One layer and one way to run it, with the points at which to time it."""

    key: str
    layer: LayerUse
    backend: str
    points: Points


def tasks(groups: Groups, batch: int, threads: int, backends: Sequence[str]) -> list[Task]:
    """What there is to measure; equal layers have equal keys."""
    found = []
    inputs = {units.index for units in groups.units if units.kind == INPUT}
    for layer in groups.layers:
        found += [
            _task(groups, layer, batch, threads, backend)
            for backend in backends
            if backend == DENSE or layer.prunable_elements
        ]
        if layer.inputs in inputs:
            found.append(_task(groups, layer, batch, threads, GATHER))
    return found


def _task(groups: Groups, layer: LayerUse, batch: int, threads: int, backend: str) -> Task:
    module = groups.module(layer)
    shape = f"{layer.in_width}x{layer.repeat}-{layer.size} {layer.out_width} {module!r}"
    free = f"{layer.inputs is not None:d}{layer.outputs is not None:d}"
    key = f"{backend} {shape} free={free} batch={batch} threads={threads} {instruction_set()}"
    return Task(key, layer, backend, _points(layer, batch, backend))


def _points(layer: LayerUse, batch: int, backend: str) -> Points:
    if backend != GATHER:
        return points(layer, batch, backend)
    kept = sorted({1, *(-(-layer.in_width // share) for share in _SHARES)})
    return Points([Point(each, each) for each in kept], [], [])


def time_layers(
    groups: Groups,
    batch: int,
    threads: int,
    tasks: Sequence[Task],
    cache: MachineCache,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """Seconds at the points of every task, by key."""
    seconds = {task.key: _checked(cache.get(task.key), len(task.points.all)) for task in tasks}
    missing = {task.key: task for task in tasks if not seconds[task.key]}
    if not missing:
        return seconds
    least, seen_twice = time_points(groups, batch, threads, list(missing.values()), progress)
    steady, start = {}, 0
    for key, task in missing.items():
        end = start + len(task.points.all)
        seconds[key] = least[start:end]
        if sum(seen_twice[start:end]) >= _STEADY_SHARE * (end - start):
            steady[key] = least[start:end]
        start = end
    if steady:
        cache.put(steady)
    return seconds


def time_points(
    groups: Groups,
    batch: int,
    threads: int,
    tasks: Sequence[Task],
    progress: Progress | None = None,
) -> tuple[list[float], list[bool]]:
    """The least seconds at the points of all tasks, interleaved, and whether each was steady."""
    modules = {task.layer: groups.module(task.layer) for task in tasks}
    probes = LayerProbes(modules.items(), batch)
    # Making layers draws random numbers; those of the user stay what they were.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return minimum_seconds(
            [probe for task in tasks for probe in _probes(task, probes)],
            rounds=_ROUNDS,
            ratio=_RATIO,
            slack=_SLACK,
            agree=_AGREE,
            warm_below=_WARM,
            clock=clock_of(threads),
            progress=progress,
        )


def _probes(task: Task, probes: LayerProbes) -> Iterator[Probe]:
    for point in task.points.all:
        if task.backend == GATHER:
            yield probes.gather(task.layer, point.inputs)
        elif task.backend == CSR:
            yield probes.csr(task.layer, point)
        else:
            yield probes.dense(task.layer, point)


def network_overhead(
    groups: Groups, batch: int, threads: int, example: Tensor | None, cache: MachineCache
) -> Overhead | None:
    """The overhead of a model: from the cache, where that has one of its architecture, or timed."""
    key = overhead_key(groups, batch, threads, example)
    numbers = _checked(cache.get(key), 2 + 2 * len(groups.layers), least=0.0)
    if numbers:
        before, whole, *rest = numbers
        return Overhead(before, tuple(map(LayerOverhead, rest[::2], rest[1::2])), whole)
    overhead = measure_overhead(groups.model, groups.layers, batch, example, clock_of(threads))
    if overhead is not None and overhead.steady:
        rest = [seconds for each in overhead.behind for seconds in each]
        cache.put({key: [overhead.before, overhead.whole, *rest]})
    return overhead


def overhead_key(groups: Groups, batch: int, threads: int, example: Tensor | None) -> str:
    """The key in the cache of what `network_overhead` finds."""
    shape = None if example is None else example.shape[1:]
    name = sha256(f"{groups.model!r} {groups.layers} {shape}".encode()).hexdigest()[:16]
    return f"{OVERHEAD} {name} batch={batch} threads={threads} {instruction_set()}"


def _checked(entry: Any, length: int, least: float = 1e-9) -> list[float]:
    """A list of seconds from the cache, empty if it is anything else."""
    if not isinstance(entry, list) or len(entry) != length:
        return []
    sound = all(isinstance(each, float) and least <= each < math.inf for each in entry)
    return entry if sound else []


def clock_of(threads: int) -> Callable[[], float]:
    """For one thread the clock of its own time, to which other programs on its core do not add."""
    return thread_time if threads == 1 else perf_counter


def times_cache(folder: Path | None = None) -> MachineCache:
    """Where times are kept: a file for each processor and each version of espalier and torch."""
    versions = f"{version('espalier')}-torch-{torch.__version__}"
    return MachineCache(f"times-{FORMAT}-{versions}", folder)
