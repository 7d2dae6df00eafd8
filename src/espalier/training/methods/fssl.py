"""FSSL: a dense start, shaping to the target, then fine-tuning of the compact network."""

from __future__ import annotations

from typing import Any

from torch import nn

from espalier import fssl
from espalier.fssl.shaping.optimizer import LEAST_STEPS
from espalier.training.context import TrainingContext
from espalier.training.footprint import Footprint, compact_footprint, weights_of
from espalier.training.learning_rate import recipe, steady_then_tenth
from espalier.training.methods.magnitude import Masks
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase, pruning_phases
from espalier.training.settings import Settings


def phases(settings: Settings) -> list[Phase]:
    """Dense, then shaping, then fine-tuning.

    Source: Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC 2019,
    section II; proportions after Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", NIPS 2016.
    """
    return pruning_phases(settings, "sparsify", SparsifyTrainer, FinetuneTrainer, LEAST_STEPS)


class SparsifyTrainer(PhaseTrainer):
    """Training that removes units and weights until the target is met, exactly at its end."""

    def __init__(self, context: TrainingContext, model: nn.Module, steps: int) -> None:
        super().__init__(context, model, steps, schedule=steady_then_tenth)
        context.distillation.set_teacher(model)
        target = context.settings.target
        assert target is not None
        parts = {target.measure: target.value}
        self.optimizer = self._shaping = fssl.FSSLOptimizer(
            self.optimizer,
            self.groups,
            context.time,
            steps=steps,
            target_time=parts.get("time"),
            target_zeros=parts.get("zeros"),
            target_units=parts.get("units"),
            mix=context.settings.mix,
        )

    @property
    def penalty(self) -> float:
        """Lambda of the fused loss."""
        return self._shaping.progress().strength


class FinetuneTrainer(PhaseTrainer):
    """Training of the compact network.

    Zeros inside the layers that stay dense may fill again: they cost no time. Where zeros are the
    target, they stay.
    """

    def __init__(self, context: TrainingContext, model: nn.Module, steps: int) -> None:
        groups, target = context.groups(model), context.settings.target
        assert target is not None
        small = fssl.compact(model, groups, time=context.time)
        lr = recipe(context.settings).lr * context.settings.finetune_lr
        super().__init__(context, small, steps, lr=lr)
        self._origin = model.state_dict()
        self._masks = Masks(weights_of(small)) if target.measure == "zeros" else None

    def update(self) -> None:
        """One step, after which the zeros that must stay are set again."""
        super().update()
        if self._masks is not None:
            self._masks.apply()

    def footprint(self) -> Footprint:
        """What compaction left; only the non-zeros may still change."""
        return compact_footprint(self.model, self.context.time)

    def compact(self) -> nn.Module:
        """The network itself."""
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """The state of the training, and the full network, from which compaction repeats itself."""
        return {**super().state_dict(), "origin": self._origin}
