"""The directory of one training: what it is, how far it is, and how it went.

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
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from espalier import fssl
from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.container import Format, read_json, write_json
from espalier.files.streams import reading
from espalier.fssl import TimeModel
from espalier.kernels import instruction_set
from espalier.timing.processor import processor_name
from espalier.training import checkpoint
from espalier.training.checkpoint import Checkpoint
from espalier.training.data import Data
from espalier.training.settings import Settings

# What `run.json` of a training in one process and of one on several ranks holds.
ONE_PROCESS = Format("espalier-training", 1, ("settings", "data", "environment", "time"))
ON_RANKS = Format("espalier-distributed-training", 1, ("settings", "data", "environment"))


class RunDirectory:
    """A training on disk.

    Arguments:
        path: its directory, which need not exist yet.
        kind: what is trained there.
    """

    def __init__(self, path: Path, kind: Format = ONE_PROCESS) -> None:
        self.path, self.kind = path, kind
        self.model = path / "model.safetensors"
        self.checkpoints = path / "checkpoints"
        self._run, self._metrics = path / "run.json", path / "metrics.jsonl"

    @property
    def begun(self) -> bool:
        """Whether there is a training to go on with."""
        return self._run.exists()

    def check(self, *, resume: bool) -> None:
        """Refuse what `held` would refuse, and make nothing.

        Raises:
            FileError: another process trains in it; there is a training where a new one is to
                begin, or none to go on with.
        """
        self._check_begun(resume)
        if self.path.is_dir():
            with self.locked():
                pass

    def check_free(self) -> None:
        """Refuse a directory that holds a training already.

        Raises:
            FileError: it does.
        """
        if self.begun:
            raise FileError(
                f"{self.path} holds a training already: resume it, or give another folder"
            )

    @contextmanager
    def held(self, *, resume: bool) -> Iterator[None]:
        """The directory for one training alone, for the block; made for a new training.

        Raises:
            FileError: as for `check`, or it cannot be made.
        """
        self._check_begun(resume)
        _make(self.path)
        with self.locked():
            self._check_begun(resume)
            yield

    def create(self, settings: Settings, fingerprint: str, time: str | None = None) -> None:
        """Begin a training here.

        Arguments:
            fingerprint: of the data.
            time: the time model as JSON, where the kind of training has one.

        Raises:
            FileError: one is here already, or the directory cannot be written.
        """
        self.check_free()
        _make(self.checkpoints)
        run = {
            "settings": settings.to_json(),
            "data": fingerprint,
            "environment": environment(),
        }
        times = {} if time is None else {"time": json.loads(time)}
        write_json(self._run, self.kind, {**run, **times})

    def run(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            FileError: there is no training here, or its description is damaged.
        """
        if not self.begun:
            raise FileError(f"{self.path} holds no training: there is no {self._run.name} in it")
        return read_json(self._run, self.kind)

    def times(self) -> TimeModel:
        """The times that a training was begun with: others would shape it otherwise."""
        return TimeModel.from_json(json.dumps(self.run()["time"]), elsewhere=True)

    def settings(self) -> Settings:
        """What is trained here."""
        return Settings.from_json(self.run()["settings"])

    def check_same(self, settings: Settings, fingerprint: str) -> None:
        """Refuse to go on with something else than was begun; data may have moved.

        Raises:
            InputError: names what differs.
        """
        self.check_settings(settings)
        if self.run()["data"] != fingerprint:
            raise InputError(
                f"{self.path} was begun with other data than {settings.data} holds now (their "
                "fingerprints differ); restore it, or begin in another folder"
            )

    def check_settings(self, settings: Settings) -> None:
        """Refuse to go on with other settings than those that a training was begun with.

        Raises:
            InputError: names those that differ.
        """
        was = self.run()["settings"]
        differences = [
            f"{name} is {value!r}, was {was.get(name)!r}"
            for name, value in settings.to_json().items()
            if name != "data" and value != was.get(name)
        ]
        if differences:
            raise InputError(
                f"{self.path} was begun with other settings: {'; '.join(differences)}; resume with "
                "the same, or begin in another folder"
            )

    def changes(self) -> list[str]:
        """What is not as it was when the training began, and may change the last bits."""
        was = self.run()["environment"]
        return [
            f"{name} is {value}, was {was.get(name)}"
            for name, value in environment().items()
            if value != was.get(name)
        ]

    def save(self, epochs: int, state: Mapping[str, Any], metrics: Any) -> None:
        """Add a line to the metrics, then write a checkpoint that knows of it."""
        self.add_metrics(metrics)
        checkpoint.write(self.checkpoints, epochs, state)

    def add_metrics(self, metrics: Any) -> None:
        """Add the line of an epoch."""
        try:
            with self._metrics.open("a") as file:
                file.write(_line(metrics))
        except OSError as error:
            raise FileError(f"cannot write {self._metrics}: {error.strerror or error}") from error

    def newest(self) -> tuple[Checkpoint | None, list[FileError]]:
        """The newest whole checkpoint, or None, and why newer ones were refused."""
        return checkpoint.read_newest(self.checkpoints)

    def rewrite_metrics(self, history: Sequence[Any]) -> None:
        """Leave the lines of these epochs alone; drop later ones and what a kill has torn."""
        checkpoint.remove_drafts(self.checkpoints)
        with replacing_file(self._metrics) as file:
            file.write("".join(map(_line, history)).encode())

    def _check_begun(self, resume: bool) -> None:
        if resume:
            self.run()
        else:
            self.check_free()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the directory for the block; a killed process frees it.

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


def save_model(model: nn.Module, path: Path, settings: Settings, data: Data) -> None:
    """Write a trained network, with what its inputs must look like."""
    spec = {
        "spec": settings.model,
        "in_channels": data.train.images.shape[1],
        "size": data.side,
        "num_classes": data.classes,
    }
    inputs = {"std": data.std}
    fssl.save(model, path, spec=spec, metadata={"inputs": inputs})


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


def _line(metrics: Any) -> str:
    return json.dumps(asdict(metrics)) + "\n"
