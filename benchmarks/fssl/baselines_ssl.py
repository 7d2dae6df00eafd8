"""The baseline SSL: group lasso by its sub-gradient, and a threshold after every step.

Source: Wen et al., "Learning Structured Sparsity in Deep Neural Networks", NIPS 2016, sections 3.1
and 4; the threshold is that of their code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espalier.training.learning_rate import steady_then_tenth
from espalier.training.methods.fssl import FinetuneTrainer
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase, pruning_phases
from espalier.training.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from espalier.fssl import Groups
    from espalier.training.context import TrainingContext

THRESHOLD = 1e-4


def phases(settings: Settings, strength: float) -> list[Phase]:
    """Dense, then the penalty, then fine-tuning of the compact network."""

    def begin(context: TrainingContext, model: nn.Module, steps: int) -> PhaseTrainer:
        return SSLTrainer(context, model, steps, strength)

    return pruning_phases(settings, "penalise", begin, FinetuneTrainer)


def group_lasso(groups: Groups) -> Tensor:
    """The sum of the norms of all rows and columns of weights that can go, filters and channels
    of convolutions; they are not coupled from layer to layer, as in the source."""
    import torch

    total = torch.zeros(())
    for layer in groups.layers:
        weight = groups.weight(layer)
        if layer.outputs is not None:
            total = total + weight.flatten(1).norm(dim=1).sum()
        if layer.inputs is not None:
            columns = weight.transpose(0, 1).reshape(layer.in_width, -1)
            total = total + columns.norm(dim=1).sum()
    return total


class SSLTrainer(PhaseTrainer):
    """Training with the penalty in the loss.

    Arguments:
        strength: lambda.
    """

    def __init__(
        self, context: TrainingContext, model: nn.Module, steps: int, strength: float
    ) -> None:
        super().__init__(context, model, steps, schedule=steady_then_tenth)
        context.distillation.set_teacher(model)
        self._strength = strength

    @property
    def penalty(self) -> float:
        """Lambda."""
        return self._strength

    def loss(self, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The usual loss and the penalty."""
        return super().loss(scores, images, labels) + self._strength * group_lasso(self.groups)

    def update(self) -> None:
        """One step; then what is next to nothing becomes nothing."""
        super().update()
        for layer in self.groups.layers:
            weight = self.groups.weight(layer).data
            weight[weight.abs() < THRESHOLD] = 0.0
