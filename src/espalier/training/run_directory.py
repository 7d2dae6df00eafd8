"""The folder of one training: what it is, how far it is, and how it went.

``run.json`` says what is trained; ``checkpoints/`` how far it is; ``metrics.jsonl`` has a line for
each epoch that a checkpoint knows of; ``model.safetensors`` and ``result.json`` come at the end.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier import fssl
from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.checked_json import read_json, write_json
from espalier.files.streams import reading
from espalier.kernels import instruction_set
from espalier.timing.processor import processor_name
from espalier.training import checkpoint
from espalier.training.checkpoint import Checkpoint
from espalier.training.data import Data
from espalier.training.metrics import Record
from espalier.training.result import TrainingResult
from espalier.training.settings import Settings

FORMAT, FORMAT_VERSION = "espalier-training", 1
KEYS = ("settings", "data", "environment", "time")


class Folder:
    """A training on disk.

    Arguments:
        path: its folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.safetensors"
        self._run, self._metrics = path / "run.json", path / "metrics.jsonl"
        self._checkpoints = path / "checkpoints"

    @property
    def begun(self) -> bool:
        """Whether there is a training to go on with."""
        return self._run.exists()

    def check_free(self) -> None:
        """Refuse a folder that holds a training already.

        Raises:
            FileError: it does.
        """
        if self.begun:
            raise FileError(
                f"{self.path} holds a training already: resume it, or give another folder"
            )

    def make(self) -> None:
        """Make the folder for a training, unless it is there.

        Raises:
            FileError: it holds a training already, or cannot be made.
        """
        self.check_free()
        _make(self.path)

    def create(self, settings: Settings, fingerprint: str, time: str) -> None:
        """Begin a training here.

        Raises:
            FileError: one is here already, or the folder cannot be written.
        """
        self.check_free()
        _make(self._checkpoints)
        run = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "settings": settings.to_json(),
            "data": fingerprint,
            "environment": environment(),
            "time": json.loads(time),
        }
        write_json(self._run, run)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder for the block; a kill gives it free.

        Raises:
            FileError: another process trains in it.
        """
        with reading(self.path):
            handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise FileError(f"cannot lock {self.path}: {error.strerror}") from error
            raise FileError(
                f"another training runs in {self.path}: wait for its end, or give another folder"
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def run(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            FileError: there is no training here, or its description is damaged.
        """
        if not self.begun:
            raise FileError(f"{self.path} holds no training: there is no {self._run.name} in it")
        run = read_json(self._run)
        if run.get("format") != FORMAT:
            raise FileError(f"{self._run} does not describe a training")
        if run.get("format_version") != FORMAT_VERSION:
            raise FileError(
                f"{self._run} is of version {run.get('format_version')}, wanted {FORMAT_VERSION}"
            )
        if missing := [key for key in KEYS if key not in run]:
            raise FileError(f"{self._run} is damaged: it lacks {missing[0]!r}")
        return run

    def settings(self) -> Settings:
        """What is trained here."""
        return Settings.from_json(self.run()["settings"])

    def check_same(self, settings: Settings, fingerprint: str) -> None:
        """Refuse to go on with something else than was begun; data may have moved.

        Raises:
            InputError: names what differs.
        """
        run = self.run()
        differences = [
            f"{name} is {value!r}, was {run['settings'].get(name)!r}"
            for name, value in settings.to_json().items()
            if name != "data" and value != run["settings"].get(name)
        ]
        if differences:
            raise InputError(
                f"{self.path} was begun with other settings: {'; '.join(differences)}; resume with "
                "the same, or begin in another folder"
            )
        if run["data"] != fingerprint:
            raise InputError(
                f"{self.path} was begun with other data than {settings.data} holds now (their "
                "fingerprints differ); restore it, or begin in another folder"
            )

    def changes(self) -> list[str]:
        """What is not as it was when the training began, and may change the last bits."""
        was = self.run()["environment"]
        return [
            f"{name} is {value}, was {was.get(name)}"
            for name, value in environment().items()
            if value != was.get(name)
        ]

    def save(self, epochs: int, state: Mapping[str, Any], record: Record) -> None:
        """Add a line to the metrics, then write a checkpoint that knows of it."""
        try:
            with self._metrics.open("a") as file:
                file.write(_line(record))
        except OSError as error:
            raise FileError(f"cannot write {self._metrics}: {error.strerror or error}") from error
        checkpoint.write(self._checkpoints, epochs, state)

    def newest(self) -> tuple[Checkpoint | None, list[FileError]]:
        """The newest whole checkpoint, or None, and why newer ones were refused."""
        return checkpoint.read_newest(self._checkpoints)

    def rewrite_metrics(self, history: Sequence[Record]) -> None:
        """Leave the lines of these epochs alone; drop later ones and what a kill has torn."""
        checkpoint.remove_drafts(self._checkpoints)
        with replacing_file(self._metrics) as file:
            file.write("".join(map(_line, history)).encode())

    def save_result(self, result: TrainingResult, data: Data) -> TrainingResult:
        """Write ``model.safetensors`` and ``result.json``; returns the result with its path."""
        save_model(result, self.model, data)
        result = replace(result, path=self.model)
        with replacing_file(self.path / "result.json") as file:
            file.write((json.dumps(result.to_json(), indent=2) + "\n").encode())
        return result


def save_model(result: TrainingResult, path: Path, data: Data) -> None:
    """Write the network of a result, with what its inputs must look like."""
    channels, side, _ = data.train.images.shape[1:]
    spec = {
        "spec": result.settings.model,
        "in_channels": channels,
        "size": side,
        "num_classes": data.classes,
    }
    inputs = {"std": data.std}
    fssl.save(result.model, path, spec=spec, metadata={"inputs": inputs})


def environment() -> dict[str, str]:
    """The processor and the versions that decide the last bits of a result."""
    return {
        "espalier": version("espalier"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": processor_name(),
        "instruction_set": instruction_set(),
    }


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make {path}: {error.strerror or error}") from error


def _line(record: Record) -> str:
    return json.dumps(record.to_json()) + "\n"
