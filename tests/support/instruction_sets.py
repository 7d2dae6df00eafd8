"""Running a piece of a test under each instruction set this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from espalier import kernels

AVAILABLE = [entry.name for entry in kernels.instruction_sets() if entry.available]


@contextmanager
def forced(name: str) -> Iterator[None]:
    """Kernels of this instruction set inside, those in force before afterwards."""
    before = kernels.instruction_set()
    kernels.use_instruction_set(name)
    try:
        yield
    finally:
        kernels.use_instruction_set(before)
