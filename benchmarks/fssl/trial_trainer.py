"""Trains what trials ask for; data, times and dense starts are made once and shared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.fssl import baselines_shape, baselines_ssl, baselines_units
from benchmarks.fssl.backends import with_backend, with_linear
from benchmarks.fssl.baselines_shape import Kept, kept_units
from benchmarks.fssl.methods import DENSE, NORM, RANDOM, SCRATCH, SSL, TAUGHT, UNSTRUCTURED, WIDTH
from benchmarks.fssl.trial import Trial
from espalier.errors import InputError
from espalier.fssl import TimeModel, find_groups
from espalier.fssl.compaction.report import find_report
from espalier.nn.networks import image_side
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch
from espalier.training import Data, load_data
from espalier.training.context import TrainingContext, build_start
from espalier.training.data import DIGITS, check_batch
from espalier.training.footprint import size_of
from espalier.training.loop import accuracy
from espalier.training.method_training import MethodTraining
from espalier.training.methods import phases_of
from espalier.training.phases import Phase, check_steps, divide
from espalier.training.settings import TimeSource

if TYPE_CHECKING:
    from torch import nn

    from espalier.training.method_training import EpochMetrics

Start = tuple[
    dict[str, Any], list["EpochMetrics"]
]  # weights after the dense phase, and its records


class TrialTrainer:
    """What the trainings of one benchmark share."""

    def __init__(self) -> None:
        self._data: dict[tuple[str, int | None], Data] = {}
        self._times: dict[tuple[str, int, int, int, TimeSource], TimeModel] = {}
        self._starts: dict[str, Start] = {}

    def data(self, trial: Trial) -> Data:
        """The images of a trial, as large as its network wants them.

        The digits are split anew for every seed.
        """
        key = (trial.data, trial.seed if trial.data == DIGITS else None)
        if key not in self._data:
            # Of one source alone: images take more memory than anything else here.
            self._data = {key: load_data(trial.data, seed=trial.seed)}
        data = self._data[key]
        return data.resized(image_side(trial.model, data.side))

    def times(self, trial: Trial, threads: int, watch: Watch) -> TimeModel:
        """Times of a trial's network on so many threads."""
        settings, data = trial.training(), self.data(trial)
        key = (trial.model, data.side, trial.batch, threads, settings.time)
        if key not in self._times:
            groups = find_groups(build_start(settings, data), data.train.images[:1])
            with watch(f"{trial.model}: timing layers", "rounds") as progress:
                self._times[key] = (
                    TimeModel.from_macs(groups, trial.batch)
                    if settings.time == "macs"
                    else TimeModel.measure(groups, trial.batch, threads=threads, progress=progress)
                )
        return self._times[key]

    def context(self, trial: Trial, watch: Watch) -> TrainingContext:
        """A trial as `espalier.training` sees it."""
        times = self.times(trial, trial.threads, watch)
        return TrainingContext(trial.training(), self.data(trial), times)

    def start(self, trial: Trial) -> nn.Module:
        """The dense network that a trial begins with."""
        return build_start(trial.training(), self.data(trial)).eval()

    def train(
        self, trial: Trial, found: Kept | None, watch: Watch
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Train one network.

        Arguments:
            found: the shape that FSSL found with this target and seed, for the method that trains
                it from scratch.

        Returns:
            The network as it is kept, and what there is to say of it, as JSON values.

        Raises:
            InputError: the epochs or the batch do not fit.
            TrainingError: the loss is no finite number.
        """
        with torch_threads(trial.threads):
            context = self.context(trial, watch)
            check_batch(context.data, context.settings.batch)
            plan = _phases_of(trial, context, found)
            check_steps(plan, context.steps)
            training = MethodTraining(context, plan, None)
            self._begin(trial, training, plan, watch)
            training.run(watch)
            model = _kept(trial, training)
            return model, _figures(trial, training, model)

    def _begin(
        self, trial: Trial, training: MethodTraining, plan: list[Phase], watch: Watch
    ) -> None:
        """Give a training the dense network of its seed, to go on from or to learn from.

        The order of images depends on seed and epoch alone, so that a training that goes on from
        a dense phase of another becomes what it would have become without.
        """
        dense = None if trial.method == DENSE else self._dense(training.context, watch)
        if dense is None:
            return
        weights, history = dense
        if trial.method in TAUGHT:
            teacher = training.context.build()
            teacher.load_state_dict(weights)
            training.context.distillation.set_teacher(teacher)
        elif plan[0].name == DENSE:
            training.trainer.model.load_state_dict(weights)
            training.history = list(history)

    def _dense(self, context: TrainingContext, watch: Watch) -> Start | None:
        """The network after the dense phase of FSSL, None where it has no such phase."""
        alike = replace(
            context.settings,
            method="fssl",
            target_time=None,
            target_zeros=None,
            mix=0.0,
            time="macs",
        )
        first = phases_of(alike)[0]
        if first.name != DENSE:
            return None
        key = f"{alike} {context.data.fingerprint}"
        if key not in self._starts:
            short = replace(context, settings=replace(context.settings, epochs=first.end))
            training = MethodTraining(short, [first], None)
            training.run(watch)
            self._starts[key] = training.trainer.model.state_dict(), training.history
        return self._starts[key]


def _kept(trial: Trial, training: MethodTraining) -> nn.Module:
    """The network that is kept: compact, or whole with its zeros."""
    if trial.method in (DENSE, *UNSTRUCTURED):
        return with_linear(training.trainer.model).eval()
    return training.trainer.compact().eval()


def _figures(trial: Trial, training: MethodTraining, model: nn.Module) -> dict[str, Any]:
    context = training.context
    running = with_backend(trial.method, model)
    size = size_of(running, context.example)
    compact = find_report(model) is not None
    return {
        "error": 1.0 - accuracy(running, context.data.test),
        "weights": size.weights,
        "nonzeros": size.nonzeros,
        "of_weights": context.weights,
        "bytes": size.parameter_bytes,
        "multiply_adds": size.multiply_adds,
        "kept": [_plain(each) for each in kept_units(model, context.start)] if compact else None,
        "seconds": sum(metrics.seconds for metrics in training.history),
        "widths": _widths(model, context) if compact else context.start.full_widths,
    }


def _widths(model: nn.Module, context: TrainingContext) -> list[int]:
    kept, full = kept_units(model, context.start), context.start.full_widths
    return [size if each is None else len(each) for each, size in zip(kept, full, strict=True)]


def _plain(kept: Any) -> list[int] | None:
    return None if kept is None else list(kept)


def _phases_of(trial: Trial, context: TrainingContext, found: Kept | None) -> list[Phase]:
    """The phases of a trial with their epochs, the same number for every method.

    Arguments:
        found: the shape that FSSL found, for the method that trains it from scratch.

    Raises:
        InputError: too few epochs, or a shape that is not there.
    """
    phases = _baseline_phases(trial, context, found)
    return (
        phases_of(context.settings) if phases is None else divide(phases, context.settings.epochs)
    )


def _baseline_phases(
    trial: Trial, context: TrainingContext, found: Kept | None
) -> list[Phase] | None:
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
