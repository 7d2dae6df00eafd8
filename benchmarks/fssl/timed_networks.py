"""Networks in a times: each way to one, with its trainings of all seeds, and their seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.fssl.backends import with_sparse_linear, with_torch_csr
from benchmarks.fssl.claim import errors
from benchmarks.fssl.forward import batch_of, time_forward
from benchmarks.fssl.methods import METHODS
from benchmarks.fssl.seeds import over_seeds, percent
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import TrialResult, Trials
from espalier.progress import Watch

if TYPE_CHECKING:
    from torch import nn

OURS, TORCH = "SparseLinear", "torch CSR"
BACKENDS = {OURS: with_sparse_linear, TORCH: with_torch_csr}
START = "start"
Case = tuple[int, int]  # images and threads


@dataclass(frozen=True)
class TimedNetwork:
    """One method with one target, in one backend.

    Attributes:
        made: its trainings, a seed each.
        backend: a name out of `BACKENDS`; ``"start"`` for the dense network they began with; None
            for that of the method itself.
    """

    made: tuple[TrialResult, ...]
    backend: str | None = None

    @property
    def label(self) -> str:
        """What it is, in words."""
        trial = self.made[0].trial
        target = "" if trial.target is None else f", {trial.target.label}"
        return f"{METHODS[trial.method].label}{target}" + (
            f", {self.backend}" if self.backend else ""
        )

    @property
    def error(self) -> float:
        """Mean over the seeds."""
        return float(errors(self.made)["mean"])

    @property
    def description(self) -> str:
        """What it is and how often it errs."""
        return f"{self.label} ({percent(errors(self.made))})"

    def model(self, seed: int, trials: Trials) -> nn.Module:
        """The network of a seed."""
        made = self.made[seed]
        if self.backend == START:
            return trials.trainer.start(made.trial)
        return BACKENDS[self.backend](made.whole()) if self.backend else made.model()


@dataclass(frozen=True)
class ForwardTimes:
    """Seconds by case and label, the median of every seed."""

    seconds: Mapping[Case, Mapping[str, Sequence[float]]]

    def fastest(self, networks: Sequence[TimedNetwork], case: Case) -> TimedNetwork:
        """The one of least mean seconds."""
        seconds = self.seconds[case]
        return min(networks, key=lambda each: fmean(seconds[each.label]))

    def ratio(self, slow: TimedNetwork, fast: TimedNetwork, case: Case) -> dict[str, Any]:
        """Seconds of one over those of another, seed by seed."""
        seconds = self.seconds[case]
        pairs = zip(seconds[slow.label], seconds[fast.label], strict=True)
        return over_seeds([theirs / mine for theirs, mine in pairs])


def time_networks(
    settings: Settings,
    trials: Trials,
    networks: Sequence[TimedNetwork],
    cases: Sequence[Case],
    watch: Watch,
) -> ForwardTimes:
    """Time all networks of a seed interleaved, seed by seed."""
    seconds: dict[Case, dict[str, list[float]]] = {
        case: {each.label: [] for each in networks} for case in cases
    }
    for seed in range(settings.seeds):
        models = {each.label: each.model(seed, trials) for each in networks}
        images = trials.trainer.data(networks[0].made[seed].trial).test.images
        for size, threads in cases:
            batch = batch_of(images, size)
            spreads = time_forward(
                models, batch, threads=threads, rounds=settings.rounds, watch=watch
            )
            for label, spread in spreads.items():
                seconds[size, threads][label].append(spread.median)
    return ForwardTimes(seconds)
