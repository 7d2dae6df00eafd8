"""The trials that settings ask for."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fssl.methods import DENSE, METHODS, Target
from benchmarks.fssl.settings import LENET_5, Settings
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trials import TrialResult, Trials
from espalier.errors import InputError
from espalier.progress import Watch


def trials_of(settings: Settings) -> Trials:
    """Where the trainings of a benchmark are made and kept.

    Raises:
        InputError: no folder for them.
    """
    if settings.runs is None:
        raise InputError("runs is None, wanted a folder for the results of trainings")
    return Trials(Path(settings.runs))


def methods_of(settings: Settings) -> list[str]:
    """The methods asked for, and dense training, which all are compared with."""
    return list(dict.fromkeys((DENSE, *settings.methods)))


def targets_of(settings: Settings, method: str) -> list[Target | None]:
    """How small a method shall make the network."""
    measure = METHODS[method].measure
    if measure is None:
        return [None]
    values = {"time": settings.times, "zeros": settings.zeros, "strength": settings.strengths}
    return [Target(measure, value) for value in values[measure]]


def trial(
    settings: Settings, method: str, target: Target | None, seed: int, model: str | None = None
) -> Trial:
    """One training, of the network of the settings or another."""
    model = settings.model if model is None else model
    lenet_epochs = settings.lenet5_epochs if model == LENET_5 else None
    return Trial(
        method=method,
        target=target,
        seed=seed,
        model=model,
        data="digits" if settings.mnist is None else settings.mnist,
        epochs=lenet_epochs or settings.epochs,
        threads=settings.threads,
        batch=settings.batch,
        time=settings.time,
    )


def every_seed(
    settings: Settings,
    trials: Trials,
    method: str,
    target: Target | None,
    watch: Watch,
    model: str | None = None,
) -> list[TrialResult]:
    """The trainings of one method with one target, a seed each."""
    return [
        trials.make(trial(settings, method, target, seed, model), watch)
        for seed in range(settings.seeds)
    ]
