"""FSSL: a dense start, shaping to the target, then fine-tuning of the compact network."""

from __future__ import annotations

from typing import Any

from torch import nn

from espalier import fssl
from espalier.fssl.shaping.optimizer import LEAST_STEPS
from espalier.training.context import Job
from espalier.training.footprint import Shape, compact_shape
from espalier.training.learning_rate import recipe, steady_then_tenth
from espalier.training.masks import Masks
from espalier.training.methods.dense import pruning_phases
from espalier.training.phase_trainer import Trainer
from espalier.training.phases import Phase
from espalier.training.settings import Settings
from espalier.training.size import weights_of


def phases(settings: Settings) -> list[Phase]:
    """Dense, then shaping, then fine-tuning.

    Source: Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC 2019,
    section II; proportions after Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", NIPS 2016.
    """
    return pruning_phases(settings, "sparsify", SparsifyTrainer, FinetuneTrainer, LEAST_STEPS)


class SparsifyTrainer(Trainer):
    """Training that removes units and weights until the target is met, exactly at its end."""

    def __init__(self, job: Job, model: nn.Module, steps: int) -> None:
        super().__init__(job, model, job.groups(model), steps, schedule=steady_then_tenth)
        job.teacher.learn_from(model)
        target = job.settings.target
        assert target is not None
        parts = {target.measure: target.value}
        self.optimizer = self._shaping = fssl.FSSLOptimizer(
            self.optimizer,
            self.groups,
            job.time,
            steps=steps,
            target_time=parts.get("time"),
            target_zeros=parts.get("zeros"),
            target_units=parts.get("units"),
            mix=job.settings.mix,
        )

    @property
    def penalty(self) -> float:
        """Lambda of the fused loss."""
        return self._shaping.progress().strength


class FinetuneTrainer(Trainer):
    """Training of the compact network.

    Zeros inside the layers that stay dense may fill again: they cost no time. Where zeros are the
    target, they stay.
    """

    def __init__(self, job: Job, model: nn.Module, steps: int) -> None:
        groups, target = job.groups(model), job.settings.target
        assert target is not None
        small = fssl.compact(model, groups, time=job.time)
        lr = recipe(job.settings).lr * job.settings.finetune_lr
        super().__init__(job, small, groups, steps, lr=lr)
        self._origin = model.state_dict()
        self._masks = Masks(weights_of(small)) if target.measure == "zeros" else None

    def update(self) -> None:
        """One step, then the zeros again that must stay."""
        super().update()
        if self._masks is not None:
            self._masks.apply()

    def shape(self) -> Shape:
        """What compaction left; only the non-zeros may still change."""
        return compact_shape(self.model, self.job.time)

    def compact(self) -> nn.Module:
        """The network itself."""
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """The full network too, from which compaction makes the same structure again."""
        return {**super().state_dict(), "origin": self._origin}
