"""The Python face of the native kernels; `ESPALIER_ISA` chooses their instruction set at import."""

from __future__ import annotations

import os

from espalier import _native
from espalier.errors import InputError


def instruction_sets() -> list[tuple[str, str, bool]]:
    """Name, needs and availability of every instruction set compiled in, fastest first.

    >>> instruction_sets()[-1]
    ('scalar', 'any processor', True)
    """
    return _native.instruction_sets()


def instruction_set() -> str:
    """Name of the instruction set in force."""
    return _native.instruction_set()


def use_instruction_set(name: str) -> None:
    """Force the instruction set of this name from now on.

    Raises:
        InputError: the name is unknown, or this machine lacks the instruction set.
    """
    if not _native.use_instruction_set(name):
        available = [known for known, _, here in instruction_sets() if here]
        raise InputError(
            f"instruction set is {name!r}, this machine has {', '.join(available)}; "
            "set ESPALIER_ISA to one of these or leave it unset"
        )


def thread_count(asked: int = 0) -> int:
    """Threads a call may use: `asked` when above 0, else OpenMP's own default."""
    return _native.thread_count(asked)


if os.environ.get("ESPALIER_ISA"):
    use_instruction_set(os.environ["ESPALIER_ISA"])
