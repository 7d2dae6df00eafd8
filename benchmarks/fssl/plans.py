"""The phases of every method that is compared."""

from __future__ import annotations

from benchmarks.fssl import baselines_shape, baselines_ssl, baselines_units
from benchmarks.fssl.baselines_shape import Kept
from benchmarks.fssl.methods import NORM, RANDOM, SCRATCH, SSL, WIDTH
from benchmarks.fssl.trial import Trial
from espalier.errors import InputError
from espalier.training.context import TrainingContext
from espalier.training.methods import phases_of
from espalier.training.phases import Phase, divide


def plan_of(trial: Trial, context: TrainingContext, found: Kept | None) -> list[Phase]:
    """The phases of a trial with their epochs, the same number for every method.

    Arguments:
        found: the shape that FSSL found, for the method that trains it from scratch.

    Raises:
        InputError: too few epochs, or a shape that is not there.
    """
    phases = _phases(trial, context, found)
    return (
        phases_of(context.settings) if phases is None else divide(phases, context.settings.epochs)
    )


def _phases(trial: Trial, context: TrainingContext, found: Kept | None) -> list[Phase] | None:
    """Those of a baseline; None for a method of `espalier.training`."""
    method, settings = trial.method, context.settings
    value = 0.0 if trial.target is None else trial.target.value
    if method == SCRATCH:
        if found is None:
            raise InputError(f"{trial.label} wants the shape that FSSL found, came none")
        return baselines_shape.phases(found)
    if method == WIDTH:
        return baselines_shape.phases(baselines_shape.narrowed(context.start, context.time, value))
    if method == SSL:
        return baselines_ssl.phases(settings, value)
    if method == RANDOM:
        return baselines_units.random_phases(settings)
    if method == NORM:
        return baselines_units.norm_phases(settings)
    return None
