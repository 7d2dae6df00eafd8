"""What each pass of a layer costs, dense and zero-skipping, measured on this machine.

A layer asks for the curves of its shape when it first sees it. They are measured once, in some
milliseconds a variant, and kept in ``$XDG_CACHE_HOME/espalier`` for each processor, instruction set
and version. Choices are made from the curves alone and never from live timing, so two runs with
the same cache give the same bits. What a restless machine measured is not kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from espalier.kernels.processor import processor_name
from espalier.nn.case import Case
from espalier.nn.curve import VARIANTS, Curve
from espalier.nn.measure import measure

FORMAT = 1


class Costs:
    """Curves by case and pass: from memory, from the cache file, or measured now."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._curves: dict[tuple[Case, str], Curve] = {}
        self._entries: dict[str, Any] | None = None

    def curve(self, case: Case, pass_name: str) -> Curve:
        """The curve of one pass."""
        try:
            return self._curves[case, pass_name]
        except KeyError:
            pass
        if self._entries is None:
            self._entries = _read(self._path())
        names = VARIANTS[pass_name]
        try:
            curve = Curve.from_json(self._entries[case.key(pass_name)], names)
        except (ValueError, KeyError, TypeError):
            curve, steady = measure(case, pass_name)
            if steady:
                self._remember(case.key(pass_name), curve)
        self._curves[case, pass_name] = curve
        return curve

    def _remember(self, key: str, curve: Curve) -> None:
        """Add a curve to the file, beside those that other processes have added meanwhile."""
        path = self._path()
        self._entries = {**_read(path), **(self._entries or {}), key: vars(curve)}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self._entries, indent=0))
            draft.replace(path)

    def _path(self) -> Path:
        cache = self._folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        versions = f"{version('espalier')}-torch-{torch.__version__}"
        name = f"layers-{FORMAT}-{versions}-{processor_name()}"
        plain = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        return cache / "espalier" / f"{plain}.json"


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        entries = json.loads(path.read_text())
        if isinstance(entries, dict):
            return entries
    return {}


COSTS = Costs()
