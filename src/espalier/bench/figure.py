"""Figures, drawn with matplotlib where it is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from espalier.errors import MissingExtraError


def require_matplotlib() -> None:
    """Raise MissingExtraError before anything is measured whose plot could not be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "the plot") from None


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG; what is there stays until the new one is whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    figure.savefig(draft, format="png", dpi=120)
    draft.replace(path)
