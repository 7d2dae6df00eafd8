"""The exceptions this library raises on purpose; each message says what came and what is wanted."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires


class EspalierError(Exception):
    """Base of every error espalier raises on purpose."""


class NetworkError(EspalierError, ValueError):
    """A layer or a network breaks one of its promises."""


class InputError(EspalierError, ValueError):
    """An argument or a batch of inputs does not fit."""


class FileError(EspalierError):
    """A file is missing, damaged or not of the format it claims to be."""


class MissingExtraError(EspalierError, ImportError):
    """An optional dependency is not installed; the message names the command that mends it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        packages = " ".join(f"'{each}'" for each in packages_of(extra) or [package])
        super().__init__(
            f"{purpose} needs {package}, which is not installed; run: pip install {packages}"
        )


def packages_of(extra: str) -> list[str]:
    """What an extra of this package installs, as pip takes it; nothing where it is not installed.

    >>> packages_of("partition")
    ['mtkahypar>=1.7']
    """
    try:
        marked = [each.split(";") for each in requires("espalier") or ()]
    except PackageNotFoundError:
        return []
    return [name.strip() for name, *marker in marked if extra in _extras(marker)]


def _extras(marker: list[str]) -> list[str]:
    return re.findall(r"extra == ['\"]([\w-]+)['\"]", "".join(marker))


class TrainingError(EspalierError, ArithmeticError):
    """Training came to numbers it cannot go on with."""


class DeviceError(EspalierError, RuntimeError):
    """A GPU, its driver or its compiler is missing, too old, or failed."""


class DeviceMemoryError(DeviceError, MemoryError):
    """A GPU's memory does not hold what it must."""
