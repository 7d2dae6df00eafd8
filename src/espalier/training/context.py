"""What every phase of one training shares: settings, data, the start network and its times."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax

from espalier.fssl import Groups, TimeModel, find_groups
from espalier.nn.networks import build
from espalier.training.data import Data
from espalier.training.footprint import weights_of
from espalier.training.settings import Settings

TEMPERATURE = 2.0


class Distillation:
    """Learning from the answers of a teacher, softened: what the network was when it was dense.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """

    def __init__(self) -> None:
        self._teacher: nn.Module | None = None

    def set_teacher(self, model: nn.Module) -> None:
        """Keep a copy of this model as it is now."""
        self._teacher = copy.deepcopy(model).eval().requires_grad_(False)

    @property
    def active(self) -> bool:
        """Whether there is a teacher."""
        return self._teacher is not None

    def loss(self, scores: Tensor, images: Tensor) -> Tensor:
        """How far the scores of a batch are from the teacher's, on the scale of cross-entropy."""
        assert self._teacher is not None
        with torch.no_grad():
            target = softmax(self._teacher(images) / TEMPERATURE, dim=1)
        given = log_softmax(scores / TEMPERATURE, dim=1)
        return TEMPERATURE**2 * kl_div(given, target, reduction="batchmean")

    def state_dict(self) -> dict[str, Any] | None:
        """The teacher's weights; None if there is none yet."""
        return None if self._teacher is None else self._teacher.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None, model: nn.Module) -> None:
        """Take weights again, with a model of the same shape to hold them."""
        if state is None:
            self._teacher = None
            return
        model.load_state_dict(state)
        self.set_teacher(model)


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """What one training works with.

    Arguments:
        settings: checked.
        data: of the size the model wants.
        time: predicts the time of the start network and of everything cut from it.
        distillation: has no teacher until a phase sets one.
    """

    settings: Settings
    data: Data
    time: TimeModel
    distillation: Distillation = field(default_factory=Distillation)

    @property
    def example(self) -> Tensor:
        """One image, to trace networks with."""
        return self.data.train.images[:1]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.data.train) // self.settings.batch

    @cached_property
    def start(self) -> Groups:
        """The groups of the start network."""
        return self.groups(self.build())

    @cached_property
    def weights(self) -> int:
        """Weights of the network the settings name, biases not counted."""
        return sum(weight.numel() for weight in weights_of(self.build()))

    @cached_property
    def seconds(self) -> float:
        """Predicted time of the start network."""
        return self.time.seconds(self.start.full_widths, self.start.full_nonzeros)

    def build(self) -> nn.Module:
        """The start network, with weights that the seed alone decides."""
        return build_start(self.settings, self.data)

    def groups(self, model: nn.Module) -> Groups:
        """The coupled groups of a model of this training."""
        return find_groups(model, self.example)


def build_start(settings: Settings, data: Data) -> nn.Module:
    """The network of these settings for this data, with weights that the seed alone decides."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        return build(settings.model, in_channels=1, size=data.side, num_classes=data.classes)
