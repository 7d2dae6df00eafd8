"""Figures measured on this machine, kept from one run to the next.

A file holds the entries of one kind of figure for one processor and one set of versions, in
``$XDG_CACHE_HOME/espalier``. Losing it costs a measurement, so nothing that goes wrong with it is
an error: a damaged file is empty, and one that cannot be written is not.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from espalier.timing.processor import processor_name


class MachineCache:
    """Entries by key: JSON values, remembered for this processor.

    Arguments:
        name: the kind of figure with its format and every version it depends on; a file each.
        folder: in place of the user's cache.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> MachineCache("figures-1", folder).put({"answer": 42})
    >>> MachineCache("figures-1", folder).get("answer")
    42
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._name = name
        self._folder = folder
        self._entries: dict[str, Any] | None = None

    def get(self, key: str) -> Any:
        """The entry of a key, None where there is none; who asks must check it."""
        if self._entries is None:
            self._entries = _read(self.path)
        return self._entries.get(key)

    def put(self, entries: dict[str, Any]) -> None:
        """Add entries to the file, beside those that other processes have added meanwhile."""
        self._entries = {**_read(self.path), **(self._entries or {}), **entries}
        self._write(self._entries)

    def _write(self, entries: dict[str, Any]) -> None:
        path = self.path
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(entries, indent=0))
            draft.replace(path)

    def forget(self, keys: Iterable[str]) -> None:
        """Take entries out of the file."""
        unwanted = set(keys)
        kept = {key: entry for key, entry in _read(self.path).items() if key not in unwanted}
        self._entries = None
        self._write(kept)

    @property
    def path(self) -> Path:
        """The file."""
        cache = self._folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = f"{self._name}-{processor_name()}"
        plain = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        return cache / "espalier" / f"{plain}.json"


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        entries = json.loads(path.read_text())
        if isinstance(entries, dict):
            return entries
    return {}
