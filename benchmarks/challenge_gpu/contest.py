"""A contest on a GPU: everybody in turns, timed by events on the device and by the host's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.harness.section import Record
from benchmarks.harness.timing import Spread
from espalier.cuda import Device, Event
from espalier.inference.gpu import GpuResult
from espalier.progress import Progress

WARM_UPS = 1
_COPIED_BYTES = 256 << 20


class Seconds(NamedTuple):
    """One run: `layers` by events, samples on the device already; `whole` from host to host."""

    layers: float
    whole: float


class DeviceTimes(NamedTuple):
    """The runs of one contestant."""

    layers: Spread
    whole: Spread

    def to_record(self) -> Record:
        """The same as JSON values; ``seconds`` are those without copies."""
        return {
            "seconds": self.layers.to_dict(),
            "whole_seconds": self.whole.to_dict(),
            "rounds": len(self.layers.rounds),
        }


def compete_on_device(
    contestants: Mapping[str, Callable[[], Seconds]],
    rounds: int,
    limit: float,
    progress: Progress | None = None,
) -> dict[str, DeviceTimes]:
    """Time all contestants in turns.

    Arguments:
        rounds: of each, after one to warm up.
        limit: seconds one contestant may take in all; a slow one runs fewer rounds, one at least.
    """
    found: dict[str, list[Seconds]] = {name: [] for name in contestants}
    spent = dict.fromkeys(contestants, 0.0)
    total, done = len(contestants) * (rounds + WARM_UPS), 0
    for turn in range(-WARM_UPS, rounds):
        for name, run in contestants.items():
            done += 1
            if progress is not None:
                progress(done, total)
            if turn > 0 and spent[name] * (1.0 + 1.0 / (turn + WARM_UPS)) > limit:
                continue
            start = perf_counter()
            seconds = run()
            spent[name] += perf_counter() - start
            if turn >= 0:
                found[name].append(seconds)
    return {
        name: DeviceTimes(
            Spread(tuple(each.layers for each in runs)), Spread(tuple(each.whole for each in runs))
        )
        for name, runs in found.items()
    }


def seconds_of(result: GpuResult) -> Seconds:
    """The times of a run of ours."""
    return Seconds(result.device_seconds.layers, result.seconds)


def measure_bandwidth(device: Device, size: int = _COPIED_BYTES, rounds: int = 5) -> float:
    """Bytes per second that a copy on the device reads and writes: the ceiling of its memory."""
    first, second = device.allocate(size), device.allocate(size)
    stream = device.lend_stream(first)
    begin, end = Event(device), Event(device)
    best = float("inf")
    for _ in range(rounds):
        begin.record(stream)
        device.call("cuMemcpyDtoDAsync", second.address, first.address, size, stream)
        end.record(stream)
        device.synchronize(stream)
        best = min(best, end.seconds_since(begin))
    return 2 * size / best


def published_over(seconds: Spread, best: Any) -> float | None:
    """How many times as long a published result took."""
    return None if best is None else best.seconds / seconds.median
