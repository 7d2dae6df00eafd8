"""The epochs of a training, one after the other, each with a record and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from espalier.errors import TrainingError
from espalier.progress import Progress, Watch
from espalier.training.context import Job
from espalier.training.loop import accuracy, train_epoch
from espalier.training.metrics import Record
from espalier.training.phase_trainer import Trainer
from espalier.training.phases import Stretch
from espalier.training.run_directory import Folder


class Course:
    """A training that can be stopped after any epoch and gone on with.

    Arguments:
        job: what to train on what.
        plan: the phases with their epochs.
        folder: for metrics and checkpoints; None to write nothing.

    Attributes:
        trainer: of the phase that runs, or ran last.
        history: a record of each epoch done.
    """

    def __init__(self, job: Job, plan: Sequence[Stretch], folder: Folder | None) -> None:
        self.job, self.folder = job, folder
        self._plan = list(plan)
        self.trainer: Trainer = self._plan[0].begin(job, job.build())
        self.history: list[Record] = []

    def resume(self, on_notice: Callable[[str], None]) -> None:
        """Go on from the newest whole checkpoint; without any, from the beginning."""
        assert self.folder is not None
        self.load_newest(on_notice, otherwise="starting anew")
        for change in self.folder.changes():
            on_notice(f"{change}: the last bits may differ from an unbroken training")
        self.folder.rewrite_metrics(self.history)

    def load_newest(self, on_notice: Callable[[str], None], *, otherwise: str) -> bool:
        """Take the state of the newest whole checkpoint, if there is one; nothing is written.

        Arguments:
            on_notice: called with why newer ones were refused.
            otherwise: what is said to become of it where none is whole.

        Returns:
            Whether there is one.
        """
        assert self.folder is not None
        newest, refused = self.folder.newest()
        for error in refused:
            then = otherwise if newest is None else f"using that of epoch {newest.epochs}"
            on_notice(f"{error}; {then}")
        if newest is not None:
            self._load(newest.epochs, newest.state)
        return newest is not None

    def run(self, watch: Watch, on_epoch: Callable[[Record], None] | None = None) -> None:
        """Train the epochs that are left.

        Raises:
            TrainingError: the loss is no finite number.
        """
        for epoch in range(len(self.history), self.job.settings.epochs):
            stretch = self._stretch(epoch)
            if epoch == stretch.first > 0:
                self.trainer = stretch.begin(self.job, self.trainer.model)
            task = f"epoch {epoch + 1} of {self.job.settings.epochs}, {stretch.phase.name}"
            with watch(task, "steps") as progress:
                record = self._epoch(epoch, stretch, progress)
            self.history.append(record)
            if self.folder is not None:
                self.folder.save(epoch + 1, self._state(), record)
            if on_epoch is not None:
                on_epoch(record)

    def _epoch(self, epoch: int, stretch: Stretch, progress: Progress) -> Record:
        job, trainer = self.job, self.trainer
        started = time.perf_counter()
        try:
            means = train_epoch(
                trainer,
                job.data.train,
                batch=job.settings.batch,
                seed=job.settings.seed,
                epoch=epoch,
                progress=progress,
            )
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._advice(epoch)}") from error
        test_accuracy = accuracy(trainer.model, job.data.test)
        shape = trainer.shape()
        return Record(
            epoch=epoch + 1,
            phase=stretch.phase.name,
            loss=means.loss,
            train_accuracy=means.accuracy,
            test_accuracy=test_accuracy,
            zeros=1.0 - shape.nonzeros / job.weights,
            nonzeros=shape.nonzeros,
            units=shape.units,
            predicted_seconds=shape.seconds,
            predicted_time=shape.seconds / job.seconds,
            lr=trainer.lr,
            penalty=trainer.penalty,
            seconds=time.perf_counter() - started,
        )

    def _advice(self, epoch: int) -> str:
        kept = ""
        if self.folder is not None and epoch > 0:
            kept = f"the checkpoint of epoch {epoch} in {self.folder.path} is whole; "
        return f"{kept}train anew with a lower learning rate"

    def _stretch(self, epoch: int) -> Stretch:
        return next(stretch for stretch in self._plan if epoch < stretch.end)

    def _state(self) -> dict[str, Any]:
        return {
            "trainer": self.trainer.state_dict(),
            "teacher": self.job.teacher.state_dict(),
            "history": [asdict(record) for record in self.history],
        }

    def _load(self, epochs: int, state: dict[str, Any]) -> None:
        stretch = self._stretch(epochs - 1)
        model = self.job.build()
        origin = state["trainer"].get("origin")
        if origin is not None:
            model.load_state_dict(origin)
        self.trainer = stretch.begin(self.job, model)
        self.trainer.load_state_dict(state["trainer"])
        self.job.teacher.load_state_dict(state["teacher"], self.job.build())
        self.history = [Record(**record) for record in state["history"]]
