"""Python face of the native kernels: instruction sets, threads, ceilings, products, zero-skipping.

The instruction set is chosen once at import: the fastest this machine has, or the one that the
environment variable ``ESPALIER_ISA`` names (``scalar``, ``avx2``, ``avx512``).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from espalier import _native
from espalier.errors import InputError
from espalier.kernels.pattern import Gradients, Pattern
from espalier.kernels.spgemm import SparseProduct
from espalier.kernels.spmm import InputMajor, PackedLayer, RowBlocks, pack, pack_by_input, spmm
from espalier.kernels.threads import thread_count
from espalier.kernels.zeroskip import (
    count_nonzero,
    nonzero_mask,
    relu_backward,
    relu_forward,
    zeroskip_backward_input,
    zeroskip_backward_weight,
    zeroskip_forward,
)

Groups = RowBlocks  # the name that it had before

__all__ = [
    "Gradients",
    "Groups",
    "RowBlocks",
    "InputMajor",
    "InstructionSet",
    "PackedLayer",
    "Pattern",
    "SparseProduct",
    "count_nonzero",
    "instruction_set",
    "instruction_sets",
    "nonzero_mask",
    "pack",
    "pack_by_input",
    "peak_bandwidth",
    "peak_multiply_adds",
    "relu_backward",
    "relu_forward",
    "spmm",
    "thread_count",
    "use_instruction_set",
    "zeroskip_backward_input",
    "zeroskip_backward_weight",
    "zeroskip_forward",
]

ISA_VARIABLE = "ESPALIER_ISA"


class InstructionSet(NamedTuple):
    """One set of kernels compiled in: its name, its needs, and whether this machine has them."""

    name: str
    needs: str
    available: bool


def instruction_sets() -> list[InstructionSet]:
    """Every instruction set compiled in, fastest first."""
    return [InstructionSet(*entry) for entry in _native.instruction_sets()]


def instruction_set() -> str:
    """Name of the instruction set in force."""
    return str(_native.instruction_set())


def use_instruction_set(name: str) -> None:
    """Use the kernels of this instruction set from now on.

    Raises:
        InputError: the name is unknown, or this machine lacks the instructions.
    """
    if not _native.use_instruction_set(name):
        known = ", ".join(
            f"{entry.name} ({entry.needs}{'' if entry.available else '; not on this machine'})"
            for entry in instruction_sets()
        )
        raise InputError(f"instruction set {name!r} cannot be used here; known are {known}")


def peak_multiply_adds(threads: int | None = None, seconds: float = 0.05) -> float:
    """Measured multiply-adds per second in registers: the ceiling of computing."""
    return float(_native.peak_multiply_adds(thread_count(threads), seconds))


def peak_bandwidth(
    threads: int | None = None, size: int = 256 << 20, seconds: float = 0.1
) -> float:
    """Measured bytes per second when reading ``size`` bytes: the ceiling of memory."""
    return float(_native.peak_bandwidth(thread_count(threads), size, seconds))


if forced := os.environ.get(ISA_VARIABLE):
    try:
        use_instruction_set(forced)
    except InputError as error:
        raise InputError(f"environment variable {ISA_VARIABLE}: {error}") from None
