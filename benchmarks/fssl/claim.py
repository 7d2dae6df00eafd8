"""One row of what must be reached: the aim, what was found, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.fssl.seeds import over_seeds
from benchmarks.fssl.settings import LENET_300_100, Settings
from benchmarks.fssl.trials import TrialResult
from benchmarks.harness.section import Record

WITHIN = 0.002  # of the dense network's error: what counts as kept accuracy


def claim(
    settings: Settings, what: str, aimed: str, found: str, holds: bool, **figures: Any
) -> Record:
    """The record of a claim; whether it holds is left open on other data and networks."""
    return {
        "network": settings.model,
        "claim": what,
        "aimed": aimed,
        "found": found,
        "holds": holds if comparable(settings) else None,
        **figures,
    }


def comparable(settings: Settings) -> bool:
    """Whether the aims, which are figures of LeNet-300-100 and LeNet-5 on MNIST, apply."""
    return settings.mnist is not None and settings.model == LENET_300_100


def errors(made: Sequence[TrialResult]) -> dict[str, Any]:
    """Last-epoch test error over the seeds."""
    return over_seeds([each.figures["error"] for each in made])


def counts(made: Sequence[TrialResult], name: str) -> dict[str, Any]:
    """A count over the seeds."""
    return over_seeds([each.figures[name] for each in made])
