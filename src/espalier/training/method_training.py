"""The training of one network by one method, phase after phase."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from espalier.training.context import TrainingContext
from espalier.training.epochs import EpochLoop
from espalier.training.loop import Means, accuracy
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase
from espalier.training.run_directory import RunDirectory


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        phase: of the method.
        loss: mean over the training images, each before its step.
        train_accuracy: of the same scores, as a part.
        test_accuracy: of the network after the epoch.
        zeros: part of the start network's weights that are no longer there or 0.
        nonzeros: weights left.
        units: left, inputs first, then layer by layer; outputs not counted.
        predicted_seconds: of one batch, by the time model.
        predicted_time: the same as a part of the start network's.
        lr: of the last step.
        penalty: strength of FSSL's penalty; 0 without.
        seconds: that the epoch took, test included.
    """

    epoch: int
    phase: str
    loss: float
    train_accuracy: float
    test_accuracy: float
    zeros: float
    nonzeros: int
    units: list[int]
    predicted_seconds: float
    predicted_time: float
    lr: float
    penalty: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The metrics as plain values."""
        return asdict(self)


class MethodTraining(EpochLoop[EpochMetrics]):
    """The epochs of a method's phases.

    Arguments:
        context: what to train on what.
        phases: of the method, with their epochs.
        directory: for metrics and checkpoints; None to write nothing.

    Attributes:
        trainer: of the phase that runs, or ran last.
    """

    trainer: PhaseTrainer

    def __init__(
        self, context: TrainingContext, phases: Sequence[Phase], directory: RunDirectory | None
    ) -> None:
        super().__init__(context.settings, context.data, directory)
        self.context = context
        self._phases = list(phases)
        self.trainer = self._phases[0].begin(context, context.build())

    def enter(self, epoch: int) -> str:
        """Begin a phase in its first epoch, with the network of the phase before."""
        phase = self._phase(epoch)
        if epoch == phase.first > 0:
            self.trainer = phase.begin(self.context, self.trainer.model)
        return phase.name

    def measure(self, epoch: int, means: Means, started: float) -> EpochMetrics:
        """Test the network, and count and time what is left of it."""
        context, trainer = self.context, self.trainer
        test_accuracy = accuracy(trainer.model, context.data.test)
        footprint = trainer.footprint()
        return EpochMetrics(
            epoch=epoch + 1,
            phase=self._phase(epoch).name,
            loss=means.loss,
            train_accuracy=means.accuracy,
            test_accuracy=test_accuracy,
            zeros=1.0 - footprint.nonzeros / context.weights,
            nonzeros=footprint.nonzeros,
            units=footprint.units,
            predicted_seconds=footprint.seconds,
            predicted_time=footprint.seconds / context.seconds,
            lr=trainer.lr,
            penalty=trainer.penalty,
            seconds=time.perf_counter() - started,
        )

    def state_dict(self) -> dict[str, Any]:
        """The state of the trainer, the teacher's weights, and the history."""
        return {
            "trainer": self.trainer.state_dict(),
            "teacher": self.context.distillation.state_dict(),
            "history": [metrics.to_json() for metrics in self.history],
        }

    def load_state_dict(self, epochs: int, state: Mapping[str, Any]) -> None:
        """The phase begins anew with a network of the same shape, which then takes its weights."""
        model = self.context.build()
        origin = state["trainer"].get("origin")
        if origin is not None:
            model.load_state_dict(origin)
        self.trainer = self._phase(epochs - 1).begin(self.context, model)
        self.trainer.load_state_dict(state["trainer"])
        self.context.distillation.load_state_dict(state["teacher"], self.context.build())
        self.history = [EpochMetrics(**metrics) for metrics in state["history"]]

    def _phase(self, epoch: int) -> Phase:
        return next(phase for phase in self._phases if epoch < phase.end)
