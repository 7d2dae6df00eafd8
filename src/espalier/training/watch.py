"""How a training shows its progress, without knowing to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int, int], None]  # (done, total)
Watch = Callable[[str, str], AbstractContextManager[Progress]]  # opens a task: (its name, the unit)


@contextmanager
def unwatched(task: str, unit: str) -> Iterator[Progress]:
    """Show nothing."""
    yield lambda done, total: None
