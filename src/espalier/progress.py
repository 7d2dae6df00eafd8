"""How long work tells what it is doing and how far it is, without knowing to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int, int], None]  # (done, total)
Watch = Callable[[str, str], AbstractContextManager[Progress]]  # opens a task: (its name, the unit)


@contextmanager
def silent(task: str, unit: str) -> Iterator[Progress]:
    """A `Watch` that shows nothing."""
    yield lambda done, total: None
