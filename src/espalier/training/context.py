"""What every phase of one training shares: settings, data, the start network and its times."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from espalier.fssl import Groups, TimeModel, find_groups
from espalier.nn.networks import build
from espalier.training.data import Data
from espalier.training.distillation import Teacher
from espalier.training.settings import Settings
from espalier.training.size import weights_of


@dataclass(frozen=True, eq=False)
class Job:
    """One training.

    Arguments:
        settings: checked.
        data: of the size the model wants.
        time: predicts the time of the start network and of everything cut from it.
        teacher: what the network was when it was dense; knows nothing until then.
    """

    settings: Settings
    data: Data
    time: TimeModel
    teacher: Teacher = field(default_factory=Teacher)

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
        """The coupled groups of a model of this job."""
        return find_groups(model, self.example)


def build_start(settings: Settings, data: Data) -> nn.Module:
    """The network of these settings for this data, with weights that the seed alone decides."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        return build(settings.model, in_channels=1, size=data.side, num_classes=data.classes)
