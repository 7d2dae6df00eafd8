"""A method as phases, and the epochs each of them gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from espalier.errors import InputError
from espalier.training.context import Job
from espalier.training.phase_trainer import Trainer

# Makes the trainer of a job from the network so far, for so many steps.
Begin = Callable[[Job, nn.Module, int], Trainer]


@dataclass(frozen=True)
class Phase:
    """Some epochs of a method.

    Arguments:
        name: what the metrics call it.
        part: of the epochs of the whole training.
        begin: makes the trainer of a job from the network so far, for so many steps; a class of
            trainers will do.
        least_steps: fewer than these cannot do it.
    """

    name: str
    part: float
    begin: Begin
    least_steps: int = 1


@dataclass(frozen=True)
class Stretch:
    """A phase with its epochs: from ``first`` until before ``end``, counted from 0."""

    phase: Phase
    first: int
    end: int

    def begin(self, job: Job, model: nn.Module) -> Trainer:
        """The trainer of this stretch."""
        return self.phase.begin(job, model, (self.end - self.first) * job.steps)


def check_steps(stretches: Sequence[Stretch], steps: int) -> None:
    """Refuse a training that leaves a phase too few steps.

    Arguments:
        steps: of an epoch.

    Raises:
        InputError: names the phase.
    """
    for stretch in stretches:
        name, wanted = stretch.phase.name, stretch.phase.least_steps
        count = (stretch.end - stretch.first) * steps
        if count < wanted:
            raise InputError(
                f"the phase {name} has {count} steps, wanted at least {wanted}: give more epochs "
                "or smaller batches"
            )


def divide(phases: Sequence[Phase], epochs: int) -> list[Stretch]:
    """Give each phase its part of the epochs, at least one; phases of part 0 fall away.

    Raises:
        InputError: fewer epochs than phases.

    >>> begin = lambda job, model, steps: None
    >>> three = [Phase("dense", 0.4, begin), Phase("prune", 0.4, begin), Phase("tune", 0.2, begin)]
    >>> [(stretch.first, stretch.end) for stretch in divide(three, 10)]
    [(0, 4), (4, 8), (8, 10)]
    """
    phases = [phase for phase in phases if phase.part > 0.0]
    if epochs < len(phases):
        names = ", ".join(phase.name for phase in phases)
        raise InputError(f"epochs is {epochs}, wanted at least {len(phases)}: one each for {names}")
    total = math.fsum(phase.part for phase in phases)
    stretches: list[Stretch] = []
    first, through = 0, 0.0
    for index, phase in enumerate(phases):
        through += phase.part / total
        latest = epochs - (len(phases) - index - 1)
        end = min(max(round(epochs * through), first + 1), latest)
        stretches.append(Stretch(phase, first, end))
        first = end
    return stretches
