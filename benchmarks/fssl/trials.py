"""The results of trials, kept so that a benchmark that was interrupted goes on where it was.

A folder holds ``runs.jsonl``, one line for each training, and the networks they made. Several
benchmarks at once may share it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.fssl.backends import with_backend
from benchmarks.fssl.methods import DENSE, FSSL, METHODS, SCRATCH, Target
from benchmarks.fssl.settings import LENET_5, Settings
from benchmarks.fssl.trial import Trial, digest
from benchmarks.fssl.trial_trainer import TrialTrainer
from espalier import fssl
from espalier.errors import FileError, InputError, TrainingError
from espalier.files.streams import reading
from espalier.progress import Watch

if TYPE_CHECKING:
    from torch import nn


class TrialResult(NamedTuple):
    """A trial and what came of it.

    Attributes:
        figures: counts and the error as JSON values.
        path: of the network.
    """

    trial: Trial
    figures: dict[str, Any]
    path: Path

    @property
    def name(self) -> str:
        """Of its file, unlike that of any other trial."""
        return self.path.stem

    def model(self) -> nn.Module:
        """The network in the backend it is run in."""
        return with_backend(self.trial.method, self.whole())

    def whole(self) -> nn.Module:
        """The network as it was kept: without sparse layers where the method is unstructured."""
        return fssl.load(self.path)


class Trials:
    """Trains what is asked for, unless it was trained before.

    Arguments:
        folder: for results and networks, made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.trainer = TrialTrainer()
        self._lines, self._models = folder / "runs.jsonl", folder / "models"
        self._models.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, dict[str, Any]] = {}
        self._reload()

    def make(self, trial: Trial, watch: Watch) -> TrialResult:
        """The result of a trial, trained now if it was not before.

        Raises:
            TrainingError: the training failed, now or before.
        """
        key = trial.key(self.trainer.data(trial).fingerprint)
        name = digest(key)
        path = self._models / f"{name}.safetensors"
        if name not in self._known:
            self._reload()
        if name not in self._known or not (path.exists() or "failed" in self._known[name]):
            self._known[name] = self._train(trial, path, watch)
            _append(self._lines, {"key": key, "said": self._known[name]})
        figures = self._known[name]
        if "failed" in figures:
            raise TrainingError(f"{trial.label}: {figures['failed']}")
        return TrialResult(trial, figures, path)

    def _reload(self) -> None:
        """Learn what was trained, here or by another benchmark."""
        self._known |= {digest(line["key"]): line["said"] for line in _read(self._lines)}

    def _train(self, trial: Trial, path: Path, watch: Watch) -> dict[str, Any]:
        found = None
        if trial.method == SCRATCH:
            found = self.make(replace(trial, method=FSSL), watch).figures["kept"]
        try:
            model, figures = self.trainer.train(trial, found, watch)
        except TrainingError as error:
            return {"failed": str(error)}
        data = self.trainer.data(trial)
        spec = {
            "spec": trial.model,
            "in_channels": data.train.images.shape[1],
            "size": data.side,
            "num_classes": data.classes,
        }
        fssl.save(model, path, spec=spec)
        return figures


def trials_of(settings: Settings) -> Trials:
    """Where the trainings of a benchmark are made and kept.

    Raises:
        InputError: no folder for them.
    """
    if settings.runs is None:
        raise InputError("runs is None, wanted a folder for the results of trainings")
    return Trials(Path(settings.runs))


def methods_of(settings: Settings) -> list[str]:
    """The methods asked for, and dense training, which all are compared with."""
    return list(dict.fromkeys((DENSE, *settings.methods)))


def targets_of(settings: Settings, method: str) -> list[Target | None]:
    """How small a method shall make the network."""
    measure = METHODS[method].measure
    if measure is None:
        return [None]
    values = {"time": settings.times, "zeros": settings.zeros, "strength": settings.strengths}
    return [Target(measure, value) for value in values[measure]]


def trial(
    settings: Settings, method: str, target: Target | None, seed: int, model: str | None = None
) -> Trial:
    """One training, of the network of the settings or another."""
    model = settings.model if model is None else model
    lenet_epochs = settings.lenet5_epochs if model == LENET_5 else None
    return Trial(
        method=method,
        target=target,
        seed=seed,
        model=model,
        data="digits" if settings.mnist is None else settings.mnist,
        epochs=lenet_epochs or settings.epochs,
        threads=settings.threads,
        batch=settings.batch,
        time=settings.time,
    )


def every_seed(
    settings: Settings,
    trials: Trials,
    method: str,
    target: Target | None,
    watch: Watch,
    model: str | None = None,
) -> list[TrialResult]:
    """The trainings of one method with one target, a seed each."""
    return [
        trials.make(trial(settings, method, target, seed, model), watch)
        for seed in range(settings.seeds)
    ]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; a last one that a kill has torn is left out."""
    if not path.exists():
        return
    with reading(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            content["key"], content["said"]
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and not text.endswith("\n"):
                return
            raise FileError(
                f"{path}, line {number} is damaged ({error}); take it out, and its training is "
                "repeated"
            ) from error
        yield content


def _append(path: Path, line: dict[str, Any]) -> None:
    """Add a line; a torn one before it is taken off first."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        if whole != end:
            file.truncate(whole)
        file.write((json.dumps(line) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
