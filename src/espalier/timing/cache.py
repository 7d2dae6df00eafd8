"""Files of the user's cache: what this machine found out, kept from one run to the next.

They stand in ``$XDG_CACHE_HOME/espalier``. Losing one costs a measurement, so nothing that goes
wrong with it is an error: a damaged file is empty, and one that cannot be written is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from espalier.timing.processor import processor_name


class MachineCache:
    """Measured figures by key: JSON values, in a file for this processor.

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
        """The entry of a key, None where there is none; the caller must check it."""
        if self._entries is None:
            self._entries = _read(self.path)
        return self._entries.get(key)

    def put(self, entries: dict[str, Any]) -> None:
        """Add entries to the file, beside those that other processes have added meanwhile."""
        self._entries = {**_read(self.path), **(self._entries or {}), **entries}
        self._write(self._entries)

    def forget(self, keys: Iterable[str]) -> None:
        """Take entries out of the file."""
        unwanted = set(keys)
        kept = {key: entry for key, entry in _read(self.path).items() if key not in unwanted}
        self._entries = None
        self._write(kept)

    @property
    def path(self) -> Path:
        """The file."""
        name = f"{self._name}-{processor_name()}"
        plain = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        return cache_folder(self._folder) / f"{plain}.json"

    def _write(self, entries: dict[str, Any]) -> None:
        write_cached(self.path, json.dumps(entries, indent=0).encode())


def cache_folder(cache: Path | None = None) -> Path:
    """Our folder in the user's cache, or in another; it need not be there yet."""
    try:
        cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home, in whose stead stands what is no folder
        cache = Path(os.devnull)
    return cache / "espalier"


def read_cached(path: Path) -> bytes:
    """What a file of the cache holds; nothing where it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def write_cached(path: Path, content: bytes) -> None:
    """Replace a file of the cache in one step: a reader meanwhile finds the old one or the new."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        entries = json.loads(read_cached(path))
        if isinstance(entries, dict):
            return entries
    return {}
