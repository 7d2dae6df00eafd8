"""A network in training: its optimiser and schedule, and what it can say about itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from espalier import fssl
from espalier.fssl import Groups
from espalier.training.augment import hide_pixels, shift
from espalier.training.context import Job
from espalier.training.footprint import Shape, shape_of
from espalier.training.learning_rate import Schedule, cosine, make_optimizer, recipe


class Trainer:
    """Trains one network for the steps of one phase.

    Methods that do more than follow the gradient extend `update` or `loss`.

    Arguments:
        job: settings and data.
        model: changed in place.
        groups: of the model.
        steps: of the phase.
        schedule: of the learning rate.
        lr: its peak; by default the settings'.

    Attributes:
        lr: learning rate of the latest step.
    """

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
        self.job, self.model, self.groups = job, model, groups
        self.optimizer: torch.optim.Optimizer = make_optimizer(model, job.settings)
        self._steps, self._done = steps, 0
        self._schedule = schedule
        self._peak = recipe(job.settings).lr if lr is None else lr
        self.lr = self._peak

    @property
    def penalty(self) -> float:
        """The strength of the penalty on weights, where a method has one."""
        return 0.0

    def disturb(self, images: Tensor) -> Tensor:
        """The images of a batch as training shows them."""
        settings = self.job.settings
        return hide_pixels(shift(images, settings.shift), recipe(settings).input_dropout)

    def loss(self, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """What is minimised: cross-entropy, in part with the answers of the dense network."""
        by_labels = cross_entropy(scores, labels)
        weight, teacher = self.job.settings.distill, self.job.teacher
        if not (weight and teacher.knows):
            return by_labels
        return (1.0 - weight) * by_labels + weight * teacher.loss(scores, images)

    def update(self) -> None:
        """One step along the gradients."""
        self.lr = self._peak * self._schedule(self._done / self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.step()
        self._done += 1

    def shape(self) -> Shape:
        """Zeros, units and predicted time as they are now."""
        return shape_of(self.groups, self.job.time)

    def compact(self) -> nn.Module:
        """A network without the zeros, dense or CSR layer by layer; the same answers."""
        return fssl.compact(self.model, self.groups, time=self.job.time)

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self._done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._done = state["done"]
