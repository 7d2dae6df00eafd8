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


class RanksDirectory(RunDirectory):
    """A training on disk that all ranks see; all of them call its methods together.

    Rank 0 writes ``run.json`` and the metrics and holds the lock. Each part writes its own file of
    a checkpoint. What rank 0 refuses, every rank refuses in the same words.

    Attributes:
        shards: of the model in training, see `DistributedModel`; set once there is one.
    """

    def __init__(self, path: Path, world: World) -> None:
        super().__init__(path, ON_RANKS)
        self.world = world
        self.shards: Mapping[str, Shard] = {}

    @contextmanager
    def held(self, *, resume: bool) -> Iterator[None]:
        """By rank 0, for all."""
        with ExitStack() as stack:
            held = super().held(resume=resume)
            self._on_first_rank(lambda: stack.enter_context(held))
            yield

    def create(self, settings: Settings, fingerprint: str, time: str | None = None) -> None:
        """By rank 0."""
        create = super().create
        self._on_first_rank(lambda: create(settings, fingerprint, time))

    def check_same(self, settings: Settings, fingerprint: str) -> None:
        """By rank 0."""
        check_same = super().check_same
        self._on_first_rank(lambda: check_same(settings, fingerprint))

    def changes(self) -> list[str]:
        """On rank 0; nothing on the others."""
        return super().changes() if self.world.rank == 0 else []

    def save(self, epochs: int, state: Mapping[str, Any], metrics: Any) -> None:
        """Add a line to the metrics, then write a checkpoint that knows of it."""
        self.world.timeout.enter("writing the checkpoint")
        if self.world.rank == 0:
            self.add_metrics(metrics)
        checkpoint.write(self.checkpoints, epochs, state, self.shards, self.world)

    def newest(self) -> tuple[Checkpoint | None, list[FileError]]:
        """The newest checkpoint that is whole on every rank, and why newer ones were refused."""
        self._on_first_rank(lambda: checkpoint.remove_drafts(self.checkpoints))
        return checkpoint.read_newest(self.checkpoints, self.shards, self.world)

    def rewrite_metrics(self, history: Sequence[Any]) -> None:
        """By rank 0."""
        rewrite = super().rewrite_metrics
        self._on_first_rank(lambda: rewrite(history))

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
