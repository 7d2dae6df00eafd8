"""Networks in a race: each way to one, with its trainings of all seeds, and their seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.fssl.claim import errors
from benchmarks.fssl.forms import sparse_form, torch_csr_form
from benchmarks.fssl.forward import batch_of, time_forward
from benchmarks.fssl.goals import METHODS
from benchmarks.fssl.seeds import over_seeds, percent
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import Made, Trials
from espalier.progress import Watch

if TYPE_CHECKING:
    from torch import nn

OURS, TORCH = "SparseLinear", "torch CSR"
FORMS = {OURS: sparse_form, TORCH: torch_csr_form}
START = "start"
Case = tuple[int, int]  # images and threads


@dataclass(frozen=True)
class Entrant:
    """One method with one goal, in one form.

    Attributes:
        made: its trainings, a seed each.
        form: a name out of `FORMS`; ``"start"`` for the dense network they began with; None for
            the form that the method itself gives.
    """

    made: tuple[Made, ...]
    form: str | None = None

    @property
    def label(self) -> str:
        """What it is, in words."""
        trial = self.made[0].trial
        goal = "" if trial.goal is None else f", {trial.goal.label}"
        return f"{METHODS[trial.method].label}{goal}" + (f", {self.form}" if self.form else "")

    @property
    def error(self) -> float:
        """Mean over the seeds."""
        return float(errors(self.made)["mean"])

    @property
    def told(self) -> str:
        """What it is and how often it errs."""
        return f"{self.label} ({percent(errors(self.made))})"

    def model(self, seed: int, trials: Trials) -> nn.Module:
        """The network of a seed."""
        made = self.made[seed]
        if self.form == START:
            return trials.workshop.start(made.trial)
        return FORMS[self.form](made.whole()) if self.form else made.model()


@dataclass(frozen=True)
class Race:
    """Seconds by case and label, the median of every seed."""

    seconds: Mapping[Case, Mapping[str, Sequence[float]]]

    def fastest(self, entrants: Sequence[Entrant], case: Case) -> Entrant:
        """The one of least mean seconds."""
        seconds = self.seconds[case]
        return min(entrants, key=lambda each: fmean(seconds[each.label]))

    def ratio(self, slow: Entrant, fast: Entrant, case: Case) -> dict[str, Any]:
        """Seconds of one over those of another, seed by seed."""
        seconds = self.seconds[case]
        pairs = zip(seconds[slow.label], seconds[fast.label], strict=True)
        return over_seeds([theirs / mine for theirs, mine in pairs])


def run_race(
    settings: Settings,
    trials: Trials,
    entrants: Sequence[Entrant],
    cases: Sequence[Case],
    watch: Watch,
) -> Race:
    """Time all networks of a seed interleaved, seed by seed."""
    seconds: dict[Case, dict[str, list[float]]] = {
        case: {each.label: [] for each in entrants} for case in cases
    }
    for seed in range(settings.seeds):
        models = {each.label: each.model(seed, trials) for each in entrants}
        images = trials.workshop.data(entrants[0].made[seed].trial).test.images
        for size, threads in cases:
            batch = batch_of(images, size)
            spreads = time_forward(
                models, batch, threads=threads, rounds=settings.rounds, watch=watch
            )
            for label, spread in spreads.items():
                seconds[size, threads][label].append(spread.median)
    return Race(seconds)
