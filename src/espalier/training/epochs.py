"""The epochs of a training, one after the other, each with its metrics and a checkpoint.

One loop for all trainings: `method_training` runs it in one process, and
`espalier.distributed.training` on each of several ranks.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from espalier.errors import TrainingError
from espalier.progress import Progress, Watch, silent
from espalier.training.data import Data
from espalier.training.loop import Means, Trainer, train_epoch
from espalier.training.run_directory import RunDirectory
from espalier.training.settings import Settings

M = TypeVar("M")  # the metrics of an epoch, a dataclass


class EpochLoop(ABC, Generic[M]):
    """A training that can be stopped after any epoch and gone on with.

    Arguments:
        settings: checked.
        data: of the size the model wants.
        directory: for metrics and checkpoints; None to write nothing.

    Attributes:
        trainer: of the network in training.
        history: the metrics of each epoch done.
    """

    trainer: Trainer

    def __init__(self, settings: Settings, data: Data, directory: RunDirectory | None) -> None:
        self.settings, self.data, self.directory = settings, data, directory
        self.history: list[M] = []

    @abstractmethod
    def enter(self, epoch: int) -> str:
        """Make the trainer ready for an epoch, counted from 0; returns the name of its phase."""

    @abstractmethod
    def measure(self, epoch: int, means: Means, started: float) -> M:
        """The metrics of an epoch that was trained just now, its test among them.

        Arguments:
            started: when, on the clock of `time.perf_counter`.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything the next epoch depends on, and the history."""

    @abstractmethod
    def load_state_dict(self, epochs: int, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, after so many epochs."""

    def resume(self, on_notice: Callable[[str], None]) -> None:
        """Go on from the newest whole checkpoint; without any, from the beginning."""
        assert self.directory is not None
        anew = f"{self.directory.path} has no whole checkpoint; starting anew"
        self.load_newest(on_notice, otherwise=anew)
        for change in self.directory.changes():
            on_notice(f"{change}: the last bits may differ from an unbroken training")
        self.directory.rewrite_metrics(self.history)

    def load_newest(self, on_notice: Callable[[str], None], *, otherwise: str) -> bool:
        """Take the state of the newest whole checkpoint, if there is one; nothing is written.

        Arguments:
            on_notice: called with why newer ones were refused.
            otherwise: what is said to become of it where none is whole.

        Returns:
            Whether there is one.
        """
        assert self.directory is not None
        newest, refused = self.directory.newest()
        for error in refused:
            then = otherwise if newest is None else f"using that of epoch {newest.epochs}"
            on_notice(f"{error}; {then}")
        if newest is not None:
            self.load_state_dict(newest.epochs, newest.state)
        return newest is not None

    def run(self, watch: Watch = silent, on_epoch: Callable[[M], None] | None = None) -> None:
        """Train the epochs that are left.

        Raises:
            TrainingError: the loss is no finite number.
        """
        for epoch in range(len(self.history), self.settings.epochs):
            task = f"epoch {epoch + 1} of {self.settings.epochs}, {self.enter(epoch)}"
            with watch(task, "steps") as progress:
                metrics = self._train(epoch, progress)
            self.history.append(metrics)
            if self.directory is not None:
                self.directory.save(epoch + 1, self.state_dict(), metrics)
            if on_epoch is not None:
                on_epoch(metrics)

    def _train(self, epoch: int, progress: Progress) -> M:
        started = time.perf_counter()
        try:
            means = train_epoch(
                self.trainer,
                self.data.train,
                batch=self.settings.batch,
                seed=self.settings.seed,
                epoch=epoch,
                progress=progress,
            )
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._advice(epoch)}") from error
        return self.measure(epoch, means, started)

    def _advice(self, epoch: int) -> str:
        kept = ""
        if self.directory is not None and epoch > 0:
            kept = f"the checkpoint of epoch {epoch} in {self.directory.path} is whole; "
        return f"{kept}train anew with a lower learning rate"
