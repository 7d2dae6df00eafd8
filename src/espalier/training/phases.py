"""A method as phases, and the epochs each of them gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from espalier.errors import InputError
from espalier.training.context import TrainingContext
from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.settings import Settings

# Makes the trainer of a phase from the network so far, for so many steps.
MakeTrainer = Callable[[TrainingContext, nn.Module, int], PhaseTrainer]


@dataclass(frozen=True)
class Phase:
    """Some epochs of a method.

    Arguments:
        name: what the metrics call it.
        part: of the epochs of the whole training.
        trainer: makes the trainer from the network so far, for so many steps; a class of trainers
            will do.
        least_steps: fewer than these cannot do it.
        first, end: its epochs, counted from 0, ``end`` not among them; `divide` sets them.
    """

    name: str
    part: float
    trainer: MakeTrainer
    least_steps: int = 1
    first: int = 0
    end: int = 0

    def begin(self, context: TrainingContext, model: nn.Module) -> PhaseTrainer:
        """The trainer of this phase, from the network so far."""
        return self.trainer(context, model, (self.end - self.first) * context.steps)


def dense_phase(part: float = 1.0) -> Phase:
    """Ordinary training for a part of the epochs."""
    return Phase("dense", part, PhaseTrainer)


def pruning_phases(
    settings: Settings, name: str, prune: MakeTrainer, finetune: MakeTrainer, least_steps: int = 1
) -> list[Phase]:
    """Dense, then a phase of this name that makes the zeros, then fine-tuning."""
    rest = 1.0 - settings.dense_part - settings.sparsify_part
    return [
        dense_phase(settings.dense_part),
        Phase(name, settings.sparsify_part, prune, least_steps),
        Phase("finetune", rest, finetune),
    ]


def check_steps(phases: Sequence[Phase], steps: int) -> None:
    """Refuse a training that leaves a phase too few steps.

    Arguments:
        steps: of an epoch.

    Raises:
        InputError: names the phase.
    """
    for phase in phases:
        count = (phase.end - phase.first) * steps
        if count < phase.least_steps:
            raise InputError(
                f"the phase {phase.name} has {count} steps, wanted at least {phase.least_steps}: "
                "give more epochs or smaller batches"
            )


def divide(phases: Sequence[Phase], epochs: int) -> list[Phase]:
    """Give each phase its part of the epochs, at least one; phases of part 0 fall away.

    Raises:
        InputError: fewer epochs than phases.

    >>> make = lambda context, model, steps: None
    >>> three = [Phase("dense", 0.4, make), Phase("prune", 0.4, make), Phase("tune", 0.2, make)]
    >>> [(phase.first, phase.end) for phase in divide(three, 10)]
    [(0, 4), (4, 8), (8, 10)]
    """
    phases = [phase for phase in phases if phase.part > 0.0]
    if epochs < len(phases):
        names = ", ".join(phase.name for phase in phases)
        raise InputError(f"epochs is {epochs}, wanted at least {len(phases)}: one each for {names}")
    total = math.fsum(phase.part for phase in phases)
    divided: list[Phase] = []
    first, through = 0, 0.0
    for index, phase in enumerate(phases):
        through += phase.part / total
        latest = epochs - (len(phases) - index - 1)
        end = min(max(round(epochs * through), first + 1), latest)
        divided.append(replace(phase, first=first, end=end))
        first = end
    return divided
