"""The directory of a training on several ranks: rank 0 owns it, and what it finds, all learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from espalier.distributed.comm.world import FOR_FILES, World
from espalier.distributed.training import checkpoint
from espalier.distributed.training.sharding import Shard
from espalier.errors import EspalierError, FileError, InputError
from espalier.training.checkpoint import Checkpoint
from espalier.training.run_directory import ON_RANKS, RunDirectory
from espalier.training.settings import Settings


class RanksDirectory:
    """A training on disk that all ranks see; all of them call its methods together.

    Rank 0 writes ``run.json`` and the metrics and holds the lock. Each part writes its own file of
    a checkpoint.

    Attributes:
        model: the file of the whole model at the end.
        shards: of the model in training, see `DistributedModel`; set once there is one.
    """

    def __init__(self, path: Path, world: World) -> None:
        self.path, self.world = path, world
        self.shards: Mapping[str, Shard] = {}
        self._directory = RunDirectory(path, ON_RANKS)
        self.model = self._directory.model

    @contextmanager
    def held(self, settings: Settings, fingerprint: str, *, resume: bool) -> Iterator[None]:
        """The directory for this training alone, for the block.

        Arguments:
            fingerprint: of the data.

        Raises:
            FileError: another training runs in it, or it holds one, or none to go on with.
            InputError: its training was begun with other settings or other data.
        """
        directory = self._directory
        with ExitStack() as stack:

            def hold() -> None:
                stack.enter_context(directory.held(resume=resume))
                if resume:
                    directory.check_same(settings, fingerprint)
                else:
                    directory.create(settings, fingerprint)

            self._on_first_rank(hold)
            yield

    def save(self, epochs: int, state: Mapping[str, Any], metrics: Any) -> None:
        """Add a line to the metrics, then write a checkpoint that knows of it."""
        self.world.timeout.enter("writing the checkpoint")
        if self.world.rank == 0:
            self._directory.add_metrics(metrics)
        checkpoint.write(self._directory.checkpoints, epochs, state, self.shards, self.world)

    def newest(self) -> tuple[Checkpoint | None, list[FileError]]:
        """The newest checkpoint that is whole on every rank, and why newer ones were refused."""
        folder = self._directory.checkpoints
        self._on_first_rank(lambda: checkpoint.remove_drafts(folder))
        return checkpoint.read_newest(folder, self.shards, self.world)

    def changes(self) -> list[str]:
        """What is not as it was when the training began, on rank 0."""
        return self._directory.changes() if self.world.rank == 0 else []

    def rewrite_metrics(self, history: Sequence[Any]) -> None:
        """Leave the lines of these epochs alone."""
        self._on_first_rank(lambda: self._directory.rewrite_metrics(history))

    def _on_first_rank(self, action: Callable[[], object]) -> None:
        """Do something on rank 0; what it refuses, every rank refuses in the same words."""
        error: EspalierError | None = None
        if self.world.rank == 0:
            try:
                action()
            except EspalierError as caught:
                error = caught
        self.world.barrier(times=FOR_FILES)
        words = "" if error is None else f"{type(error).__name__} {error}"
        said = bytes(self.world.gather(np.frombuffer(words.encode(), np.uint8))[0]).decode()
        if error is not None:
            raise error
        if said:
            name, _, text = said.partition(" ")
            raise InputError(text) if name == InputError.__name__ else FileError(text)
