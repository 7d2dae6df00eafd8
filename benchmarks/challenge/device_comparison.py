"""A comparison on a GPU: all interleaved, timed by events on the device and by the host as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.harness.section import Record
from espalier.cuda import Device, Event
from espalier.inference import GpuPlan, GpuStrategyPlan
from espalier.progress import Progress
from espalier.timing.interleave import interleave
from espalier.timing.spread import Spread

WARM_UPS = 1
_COPIED_BYTES = 256 << 20


class Seconds(NamedTuple):
    """One run: `layers` by events, samples on the device already; `whole` from host to host."""

    layers: float
    whole: float


class DeviceTimes(NamedTuple):
    """The runs of one candidate."""

    layers: Spread
    whole: Spread

    def to_record(self, samples: int) -> Record:
        """The same as JSON values; ``seconds`` are those without copies."""
        return {
            "samples": samples,
            "measured_samples": samples,
            "seconds": self.layers.to_dict(),
            "whole_seconds": self.whole.to_dict(),
            "rounds": len(self.layers.rounds),
        }


def compare_on_device(
    candidates: Mapping[str, Callable[[], Seconds]],
    rounds: int,
    limit: float,
    progress: Progress | None = None,
) -> dict[str, DeviceTimes]:
    """Time all candidates interleaved.

    Arguments:
        rounds: of each, after one to warm up.
        limit: seconds one candidate may take in all; a slow one runs fewer rounds, one at least.
    """
    spent = dict.fromkeys(candidates, 0.0)

    def measure(name: str) -> Seconds:
        start = perf_counter()
        seconds = candidates[name]()
        spent[name] += perf_counter() - start
        return seconds

    def is_done(name: str, runs: list[Seconds]) -> bool:
        """Whether one run more, as long as the others, would be too long."""
        return bool(runs) and spent[name] * (1.0 + 1.0 / (len(runs) + WARM_UPS)) > limit

    found = interleave(
        {name: partial(measure, name) for name in candidates},
        rounds,
        warm_ups=WARM_UPS,
        is_done=is_done,
        progress=progress,
    )
    return {
        name: DeviceTimes(
            Spread(tuple(each.layers for each in runs)), Spread(tuple(each.whole for each in runs))
        )
        for name, runs in found.items()
    }


def run_plan(plan: GpuPlan | GpuStrategyPlan, *arguments: Any) -> Seconds:
    """The times of a run of ours."""
    result = plan.run(*arguments)
    return Seconds(result.device_seconds.layers, result.seconds)


def measure_bandwidth(device: Device, size: int = _COPIED_BYTES, rounds: int = 5) -> float:
    """Bytes per second that a copy on the device reads and writes: the ceiling of its memory."""
    first, second = device.allocate(size), device.allocate(size)
    stream = device.stream_for(first)
    begin, end = Event(device), Event(device)
    best = float("inf")
    for _ in range(rounds):
        begin.record(stream)
        device.call("cuMemcpyDtoDAsync", second.address, first.address, size, stream)
        end.record(stream)
        device.synchronize(stream)
        best = min(best, end.seconds_since(begin))
    return 2 * size / best
