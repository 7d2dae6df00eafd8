"""A fair comparison: everyone is checked first, then all run interleaved within a limit of time.

Each candidate is tried on a few samples. One that would take longer than its limit runs fewer
rounds, and one that is slower still runs fewer samples, whose time is scaled up to all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.settings import Settings
from benchmarks.harness.section import Record
from espalier import kernels
from espalier.errors import EspalierError
from espalier.inference import Plan
from espalier.inference.options import Filter
from espalier.kernels.reference import activate
from espalier.network import Network
from espalier.progress import Progress
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

LEAST_ROUNDS = 3
PILOT_SAMPLES = 128
PILOT_OPERATIONS = 20_000_000_000
CEILING = "ceiling of multiply-adds"
# Rounding in float32 over 120 layers and more, as a part of the largest activation.
TOLERANCE = 2e-3

Work = Callable[[], object]


@dataclass(frozen=True)
class Candidate:
    """Somebody who can do the job.

    Arguments:
        prepare: takes a batch; returns the work to time.
        outputs: takes a batch; returns its activations ``[samples, outputs]``.
        most_samples: samples that fit in memory.
    """

    name: str
    prepare: Callable[[Any], Work]
    outputs: Callable[[Any], NDArray[np.float32]]
    most_samples: int | None = None


def plan_candidate(name: str, plan: Plan, filter: Filter) -> Candidate:
    """A plan run from the caller's matrix to the categories."""

    def prepare(batch: Any) -> Work:
        return lambda: plan.run(batch, filter)

    def outputs(batch: Any) -> NDArray[np.float32]:
        return np.asarray(plan.run(batch, filter).activations)

    return Candidate(name, prepare, outputs)


class Timed(NamedTuple):
    """The time of one candidate for all samples; scaled where it ran fewer."""

    seconds: Spread
    samples: int
    measured_samples: int

    def to_record(self) -> Record:
        """The same as JSON values."""
        return {
            "seconds": self.seconds.to_dict(),
            "rounds": len(self.seconds.rounds),
            "samples": self.samples,
            "measured_samples": self.measured_samples,
        }


class Comparison(NamedTuple):
    """Times by candidate, and the multiply-add ceiling as measured in the same rounds."""

    times: dict[str, Timed]
    ceiling: Spread

    def share_of_peak(self, name: str, multiply_adds: float) -> Spread:
        """Part of the ceiling that so many multiply-adds in each round's time reach."""
        pairs = zip(self.times[name].seconds.rounds, self.ceiling.rounds, strict=False)
        return Spread(tuple(multiply_adds / seconds / peak for seconds, peak in pairs))


def compare(
    candidates: list[Candidate],
    network: Network,
    batch: Any,
    settings: Settings,
    progress: Progress | None = None,
) -> Comparison:
    """Check all candidates against float64, then time them, interleaved.

    Raises:
        EspalierError: a candidate computes something else.
    """
    few = batch[: pilot_samples(network, batch.shape[0])]
    expected = reference(network, few)
    work: dict[str, Work] = {}
    rounds: dict[str, int] = {}
    measured: dict[str, int] = {}
    for candidate in candidates:
        name = candidate.name
        check(name, candidate.outputs(few), expected)
        most = min(batch.shape[0], candidate.most_samples or batch.shape[0])
        per_sample = _try_out(candidate, batch, few.shape[0], most, settings)
        samples, rounds[name] = allot(per_sample, most, settings.rounds, settings.limit)
        whole = samples == batch.shape[0]
        work[name] = candidate.prepare(batch if whole else batch[:samples])
        measured[name] = samples
    peaks: list[float] = []
    work[CEILING] = lambda: peaks.append(kernels.peak_multiply_adds(settings.threads))
    rounds[CEILING] = max(rounds.values())
    spreads = time_interleaved(work, rounds=rounds, progress=progress)
    total = batch.shape[0]
    times = {
        name: Timed(spreads[name].times(total / max(samples, 1)), total, samples)
        for name, samples in measured.items()
    }
    return Comparison(times, Spread(tuple(peaks[-rounds[CEILING] :])))


def allot(per_sample: float, samples: int, rounds: int, limit: float) -> tuple[int, int]:
    """Samples and rounds that keep within a limit of seconds, one warm-up included.

    >>> allot(0.001, 60_000, 7, limit=600.0), allot(0.001, 60_000, 7, limit=300.0)
    ((60000, 7), (60000, 4))
    >>> allot(0.001, 60_000, 7, limit=40.0)
    (10000, 3)
    """
    whole = per_sample * samples
    least = min(LEAST_ROUNDS, rounds)
    if whole * (least + 1) <= limit:
        return samples, min(rounds, max(least, int(limit / max(whole, 1e-9)) - 1))
    part = int(limit / (least + 1) / per_sample)
    return min(samples, max(part, 1)), least


def pilot_samples(network: Network, samples: int) -> int:
    """Samples to check and try out with: fewer for large networks, for float64 is slow.

    >>> from espalier.generate import radixnet
    >>> pilot_samples(radixnet(1024, 120), 60_000), pilot_samples(radixnet(16384, 1920), 60_000)
    (128, 19)
    """
    affordable = PILOT_OPERATIONS // max(network.connections, 1)
    return min(samples, PILOT_SAMPLES, max(affordable, 1))


def reference(network: Network, batch: Any) -> NDArray[np.float64]:
    """All layers in float64, ``[samples, outputs]``."""
    dense = batch.toarray() if hasattr(batch, "toarray") else batch
    rows = np.asarray(dense, dtype=np.float64).T
    for layer in network:
        sums = layer.weights.astype(np.float64) @ rows + layer.bias[:, None]
        rows = activate(layer, np.asarray(sums, np.float64))
    return np.asarray(rows.T)


def check(name: str, found: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    """Raise unless the activations agree up to rounding."""
    largest = float(np.abs(expected).max(initial=1.0))
    error = float(np.abs(found - expected).max(initial=0.0))
    if not error <= TOLERANCE * largest:
        raise EspalierError(
            f"{name}: activations differ by {error:.3g} from the reference in float64, wanted at "
            f"most {TOLERANCE * largest:.3g}; it is not timed"
        )


def _try_out(
    candidate: Candidate, batch: Any, samples: int, most: int, settings: Settings
) -> float:
    """Seconds per sample, from few samples where those show that there is time for all."""
    while True:
        seconds = _second_run(candidate.prepare(batch[:samples]))
        enough = seconds / samples * most * (settings.rounds + 1) <= settings.limit
        if enough or samples == most or seconds > settings.limit / 50:
            return seconds / samples
        samples = min(most, 8 * samples)


def _second_run(work: Work) -> float:
    """The first run also starts threads and touches new memory."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
