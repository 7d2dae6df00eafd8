"""How long work tells what it is doing and how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Called as `progress(done, total)`.
Progress = Callable[[int, int], None]
# Opened as `with watch("reading", "layers") as progress`: the task, and what is counted.
Watch = Callable[[str, str], AbstractContextManager[Progress]]


@contextmanager
def silent(task: str, unit: str) -> Iterator[Progress]:
    """A `Watch` that shows nothing."""
    yield lambda done, total: None
