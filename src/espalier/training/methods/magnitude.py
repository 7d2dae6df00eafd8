"""Gradual magnitude pruning: the smallest weights of the whole network go, a few at a time.

Source: Zhu, Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
compression", ICLR workshops 2018, section 3; one global threshold as in Han et al., "Learning both
Weights and Connections for Efficient Neural Networks", NIPS 2015.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from espalier.fssl import Groups
from espalier.training.context import Job
from espalier.training.learning_rate import Schedule, cosine, recipe, steady_then_tenth
from espalier.training.masks import Masks
from espalier.training.methods.dense import pruning_phases
from espalier.training.phase_trainer import Trainer
from espalier.training.phases import Phase
from espalier.training.settings import Settings

PRUNINGS = 100  # while the pruning phase lasts


def phases(settings: Settings) -> list[Phase]:
    """Dense, then pruning, then fine-tuning with the zeros fixed."""
    return pruning_phases(settings, "prune", _prune, _finetune)


class MaskedTrainer(Trainer):
    """Training in which zeros stay zeros."""

    def __init__(
        self,
        job: Job,
        model: nn.Module,
        groups: Groups,
        steps: int,
        *,
        schedule: Schedule = cosine,
        lr: float | None = None,
    ) -> None:
        super().__init__(job, model, groups, steps, schedule=schedule, lr=lr)
        self.masks = Masks([groups.weight(layer) for layer in groups.layers])

    def update(self) -> None:
        """One step, then the zeros again."""
        super().update()
        self.masks.apply()

    def state_dict(self) -> dict[str, Any]:
        """The masks too."""
        return {**super().state_dict(), "masks": self.masks.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The masks too."""
        super().load_state_dict(state)
        self.masks.load_state_dict(state["masks"])


class PruningTrainer(MaskedTrainer):
    """Training in which more and more of the smallest weights become zeros."""

    def update(self) -> None:
        """One step, and now and then fewer weights."""
        super().update()
        if self._done % max(1, self._steps // PRUNINGS) == 0 or self._done == self._steps:
            self.masks.keep_largest(self._wanted())

    def _wanted(self) -> int:
        target = self.job.settings.target
        assert target is not None
        t = self._done / self._steps
        zeros = target.value * (1.0 - (1.0 - t) ** 3)
        return self.job.weights - round(zeros * self.job.weights)


def _prune(job: Job, model: nn.Module, steps: int) -> Trainer:
    job.teacher.learn_from(model)
    return PruningTrainer(job, model, job.groups(model), steps, schedule=steady_then_tenth)


def _finetune(job: Job, model: nn.Module, steps: int) -> Trainer:
    lr = recipe(job.settings).lr * job.settings.finetune_lr
    return MaskedTrainer(job, model, job.groups(model), steps, lr=lr)
