"""Trains in processes of its own that kill themselves at moments where it could hurt.

    python killed.py FOLDER SETTINGS ...

Every method has a folder below FOLDER, and every moment one below that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from espalier import training
from espalier.files import atomic
from espalier.training import checkpoint
from espalier.training.phase_trainer import PhaseTrainer

STEPS = 22  # of an epoch of the digits in batches of 64


def die(*_: object, **__: object) -> None:
    """End as by `kill -9`: nothing is cleaned up, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(count: int, then: Callable[..., object]) -> Callable[..., object]:
    """A function that does as another, and dies on its call number ``count``, counted from 0."""
    calls = iter(range(count))

    def counted(*arguments: object, **named: object) -> object:
        if next(calls, None) is None:
            die()
        return then(*arguments, **named)

    return counted


def in_step(count: int) -> Callable[[], None]:
    """Die before the update of this step, counted over all epochs."""

    def arrange() -> None:
        PhaseTrainer.update = after(count, PhaseTrainer.update)  # type: ignore[method-assign]

    return arrange


def before_checkpoint(count: int) -> Callable[[], None]:
    """Die when the line of an epoch is in the metrics, and its checkpoint is not begun."""

    def arrange() -> None:
        checkpoint.write = after(count, checkpoint.write)  # type: ignore[assignment]

    return arrange


def in_checkpoint(count: int) -> Callable[[], None]:
    """Die when a checkpoint is written, but not in its place: ``count`` calls of fsync after 0."""

    def arrange() -> None:
        atomic.os.fsync = after(count, os.fsync)  # type: ignore[attr-defined]

    return arrange


def before_cleaning() -> None:
    """Die when a third checkpoint is in its place and the first is not yet removed."""
    Path.unlink = die  # type: ignore[method-assign,assignment]


MOMENTS: dict[str, Callable[[], None]] = {
    "first step": in_step(0),
    "first epoch": in_step(STEPS - 1),
    "second phase": in_step(2 * STEPS + 3),
    "last phase": in_step(4 * STEPS + 5),
    "between metrics and checkpoint": before_checkpoint(2),
    "first checkpoint": in_checkpoint(2),
    "fourth checkpoint": in_checkpoint(8),
    "before old files go": before_cleaning,
}


# What a method adds to the state matters in the middle of it; the other moments are everyone's.
FEW = ("second phase", "fourth checkpoint")


def moments(method: str) -> list[str]:
    """The moments at which a training by this method is killed."""
    return list(MOMENTS) if method == "fssl" else list(FEW)


def kill(folder: Path, settings: training.Settings) -> None:
    """Fork a process for each moment and wait for its death."""
    training.train(settings)  # imports once for all what a training needs
    for moment in moments(settings.method):
        child = os.fork()
        if child == 0:
            MOMENTS[moment]()
            training.train(settings, folder / moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lived", sep="\t")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for words in sys.argv[2:]:
        settings = training.Settings(**json.loads(words))
        kill(Path(sys.argv[1]) / settings.method, settings)
