"""A network in one phase of a method: what it learns from, and what it can say about itself."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor, nn

from espalier import fssl
from espalier.fssl import Groups
from espalier.training.context import TrainingContext
from espalier.training.footprint import Footprint, footprint_of
from espalier.training.learning_rate import Schedule, cosine
from espalier.training.loop import Trainer


class PhaseTrainer(Trainer):
    """Trains one network for the steps of one phase.

    Arguments:
        context: of the training.
        model: changed in place.
        steps: of the phase.
        schedule: of the learning rate.
        lr: its peak; by default the settings'.
    """

    def __init__(
        self,
        context: TrainingContext,
        model: nn.Module,
        steps: int,
        *,
        schedule: Schedule = cosine,
        lr: float | None = None,
    ) -> None:
        super().__init__(context.settings, model, steps, schedule=schedule, lr=lr)
        self.context = context

    @cached_property
    def groups(self) -> Groups:
        """The coupled groups of the network."""
        return self.context.groups(self.model)

    @property
    def penalty(self) -> float:
        """The strength of the penalty on weights, where a method has one."""
        return 0.0

    def loss(self, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, in part with the answers of the dense network."""
        by_labels = super().loss(scores, images, labels)
        weight, distillation = self.settings.distill, self.context.distillation
        if not (weight and distillation.active):
            return by_labels
        return (1.0 - weight) * by_labels + weight * distillation.loss(scores, images)

    def footprint(self) -> Footprint:
        """Zeros, units and predicted time as they are now."""
        return footprint_of(self.groups, self.context.time)

    def compact(self) -> nn.Module:
        """A network without the zeros, dense or CSR layer by layer; the same answers."""
        return fssl.compact(self.model, self.groups, time=self.context.time)
