"""What shaping a network costs beside training it: the share of the proximal step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.fssl.claim import claim
from benchmarks.fssl.methods import FSSL, Target
from benchmarks.fssl.seeds import over_seeds
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import Trials, trial
from benchmarks.harness.section import Record
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch
from espalier.training.loop import train_epoch
from espalier.training.methods import phases_of
from espalier.training.methods.fssl import SparsifyTrainer

if TYPE_CHECKING:
    from torch import nn

    from espalier.training.context import TrainingContext

MOST = 0.05


class ClockedTrainer(SparsifyTrainer):
    """Shaping with a clock on all that the optimiser does beyond its base.

    Attributes:
        seconds: of the proximal steps, of checking the target and of the masks.
    """

    def __init__(self, context: TrainingContext, model: nn.Module, steps: int) -> None:
        super().__init__(context, model, steps)
        self.seconds = 0.0
        base = self._shaping.base
        base.register_step_pre_hook(self._pause)
        base.register_step_post_hook(self._go_on)

    def update(self) -> None:
        """One step; the time of the base's own is taken out by its hooks."""
        self.seconds -= time.perf_counter()
        super().update()
        self.seconds += time.perf_counter()

    def _pause(self, *_: Any) -> None:
        self.seconds += time.perf_counter()

    def _go_on(self, *_: Any) -> None:
        self.seconds -= time.perf_counter()


def share(settings: Settings, trials: Trials, watch: Watch) -> list[Record]:
    """Its part of the time of the phase that shapes, for units and for single weights."""
    targets = [Target("time", settings.times[0]), Target("zeros", settings.zeros[0])]
    return [_share(settings, trials, target, watch) for target in targets]


def _share(settings: Settings, trials: Trials, target: Target, watch: Watch) -> Record:
    requested = trial(settings, FSSL, target, 0)
    with torch_threads(settings.threads):
        context = trials.trainer.context(requested, watch)
        phase = next(each for each in phases_of(context.settings) if each.name == "sparsify")
        steps, batch = (phase.end - phase.first) * context.steps, context.settings.batch
        trainer = ClockedTrainer(context, context.build(), steps)
        seconds, parts = 0.0, []
        with watch(f"{settings.model}: shaping, {target.label}", "epochs") as progress:
            for epoch in range(phase.first, phase.end):
                spent, started = trainer.seconds, time.perf_counter()
                train_epoch(trainer, context.data.train, batch=batch, seed=0, epoch=epoch)
                parts.append((trainer.seconds - spent) / (time.perf_counter() - started))
                seconds += time.perf_counter() - started
                progress(epoch + 1 - phase.first, phase.end - phase.first)
    part = trainer.seconds / seconds
    return claim(
        settings,
        f"proximal step's part of shaping, {target.label}",
        f"under {MOST:.0%}",
        f"{part:.1%} of {seconds:.1f} s",
        part < MOST,
        share=part,
        share_by_epoch=over_seeds(parts),
        phase_seconds=seconds,
    )
