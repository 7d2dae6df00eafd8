"""Baselines that remove whole units by a criterion of their own, with FSSL's phases and budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from espalier.fssl.shaping.importance import least_important, ranks
from espalier.fssl.shaping.schedule import cubic_sparsity
from espalier.training.learning_rate import steady_then_tenth
from espalier.training.methods.fssl import FinetuneTrainer
from espalier.training.methods.magnitude import PRUNINGS
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import Phase, pruning_phases
from espalier.training.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from espalier.fssl import Groups
    from espalier.training.context import TrainingContext

MIN_WIDTH = 2
Criterion = Callable[["Groups"], "list[Tensor]"]  # a score above 0 for each unit of each family


def random_phases(settings: Settings) -> list[Phase]:
    """Dense, then units go at random, then fine-tuning of the compact network."""
    return _phases(settings, lambda groups: random_scores(groups, settings.seed))


def norm_phases(settings: Settings) -> list[Phase]:
    """Dense, then the units of least magnitude go, then fine-tuning of the compact network.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3; there by
    the absolute sum of incoming weights.
    """
    return _phases(settings, norm_ranks)


def random_scores(groups: Groups, seed: int) -> list[Tensor]:
    """A number for each unit, the same whenever it is asked for."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=draw) + 1e-6 for size in groups.full_widths]


def norm_ranks(groups: Groups) -> list[Tensor]:
    """The rank of the norm of each coupled group in its family: all families shrink alike."""
    return [ranks(units.norms()) for units in groups.units]


class UnitPruningTrainer(PhaseTrainer):
    """Training in which more and more units become zeros, until the predicted time fits.

    Arguments:
        criterion: what scores the units; those of least score go.
    """

    def __init__(
        self, context: TrainingContext, model: nn.Module, steps: int, criterion: Criterion
    ) -> None:
        super().__init__(context, model, steps, schedule=steady_then_tenth)
        context.distillation.set_teacher(model)
        self._criterion = criterion
        self._gone = [~alive for alive in self.groups.alive()]

    def update(self) -> None:
        """One step, then the zeros again, and now and then more of them."""
        super().update()
        if self._done % max(1, self._steps // PRUNINGS) == 0 or self._done == self._steps:
            self._choose()
        for units, gone in zip(self.groups.units, self._gone, strict=True):
            units.scale_((~gone).float())

    def _choose(self) -> None:
        target = self.context.settings.target
        assert target is not None
        left = 1.0 - cubic_sparsity(1.0 - target.value, self._done / self._steps)
        scores = [
            score * ~gone
            for score, gone in zip(self._criterion(self.groups), self._gone, strict=True)
        ]
        self._gone = least_important(scores, self._time_left, left, MIN_WIDTH)

    def _time_left(self, widths: list[int]) -> float:
        return self.context.time.seconds(widths) / self.context.seconds


def _phases(settings: Settings, criterion: Criterion) -> list[Phase]:
    def begin(context: TrainingContext, model: nn.Module, steps: int) -> PhaseTrainer:
        return UnitPruningTrainer(context, model, steps, criterion)

    return pruning_phases(settings, "prune", begin, FinetuneTrainer)
