"""Gradual magnitude pruning: the smallest weights of the whole network go, a few at a time.

Source: Zhu, Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
compression", ICLR workshops 2018, section 3; one global threshold as in Han et al., "Learning both
Weights and Connections for Efficient Neural Networks", NIPS 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espalier.fssl.shaping.schedule import cubic_sparsity
from espalier.training.context import TrainingContext
from espalier.training.learning_rate import recipe, steady_then_tenth
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase, pruning_phases
from espalier.training.settings import Settings

PRUNINGS = 100  # while the pruning phase lasts


def phases(settings: Settings) -> list[Phase]:
    """Dense, then pruning, then fine-tuning with the zeros fixed."""
    return pruning_phases(settings, "prune", _prune, _finetune)


class Masks:
    """One mask for each weight; ``apply`` after every step of an optimiser.

    Arguments:
        weights: of all layers that share one budget; what is 0 now stays 0.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -1.0, 2.0, 0.5]))
    >>> masks = Masks([weight])
    >>> masks.keep_largest(2)
    >>> weight.detach()
    tensor([3., 0., 2., 0.])
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = list(weights)
        self._masks = [weight.detach() != 0 for weight in self._weights]

    @torch.no_grad()
    def keep_largest(self, count: int) -> None:
        """Keep the ``count`` weights of largest magnitude of all layers; of equals, the first.

        The largest of each layer stays whatever it is, lest a layer dies.
        """
        magnitudes = torch.cat([weight.abs().flatten() for weight in self._weights])
        first = 0
        for weight in self._weights:
            magnitudes[first + int(weight.abs().argmax())] = torch.inf
            first += weight.numel()
        kept = torch.zeros(len(magnitudes), dtype=torch.bool)
        kept[magnitudes.argsort(descending=True, stable=True)[:count]] = True
        sizes = [weight.numel() for weight in self._weights]
        self._masks = [
            part.view_as(weight)
            for part, weight in zip(kept.split(sizes), self._weights, strict=True)
        ]
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set to 0 what is masked."""
        for weight, mask in zip(self._weights, self._masks, strict=True):
            weight.masked_fill_(~mask, 0.0)

    def state_dict(self) -> list[Tensor]:
        """The masks themselves."""
        return list(self._masks)

    def load_state_dict(self, masks: Sequence[Tensor]) -> None:
        """Take over masks of the same shapes."""
        self._masks = list(masks)


class MaskedTrainer(PhaseTrainer):
    """Training in which zeros stay zeros."""

    def __init__(
        self, context: TrainingContext, model: nn.Module, steps: int, **options: Any
    ) -> None:
        super().__init__(context, model, steps, **options)
        self.masks = Masks([self.groups.weight(layer) for layer in self.groups.layers])

    def update(self) -> None:
        """One step, after which masked weights are set to 0 again."""
        super().update()
        self.masks.apply()

    def state_dict(self) -> dict[str, Any]:
        """The state of the training, and the masks."""
        return {**super().state_dict(), "masks": self.masks.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(state)
        self.masks.load_state_dict(state["masks"])


class PruningTrainer(MaskedTrainer):
    """Training in which more and more of the smallest weights become zeros."""

    def update(self) -> None:
        """One step; every few steps more weights are pruned."""
        super().update()
        if self._done % max(1, self._steps // PRUNINGS) == 0 or self._done == self._steps:
            self.masks.keep_largest(self._weights_left())

    def _weights_left(self) -> int:
        target = self.context.settings.target
        assert target is not None
        zeros = cubic_sparsity(target.value, self._done / self._steps)
        return self.context.weights - round(zeros * self.context.weights)


def _prune(context: TrainingContext, model: nn.Module, steps: int) -> PhaseTrainer:
    context.distillation.set_teacher(model)
    return PruningTrainer(context, model, steps, schedule=steady_then_tenth)


def _finetune(context: TrainingContext, model: nn.Module, steps: int) -> PhaseTrainer:
    lr = recipe(context.settings).lr * context.settings.finetune_lr
    return MaskedTrainer(context, model, steps, lr=lr)
