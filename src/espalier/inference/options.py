"""What a caller may ask of a plan or a run, checked once at the border."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import Any, Literal

from espalier.errors import InputError
from espalier.network import Network

Filter = Literal["none", "zero", "unique"]
FILTERS: tuple[Filter, ...] = ("none", "zero", "unique")
Output = Literal["dense", "csr"]
OUTPUTS: tuple[Output, ...] = ("dense", "csr")
Strategy = Literal["buffer", "no-buffer", "filter"]
STRATEGIES: tuple[Strategy, ...] = ("buffer", "no-buffer", "filter")


@dataclass(frozen=True)
class Options:
    """Which shortcuts a plan may take; results differ by rounding at most, whatever is chosen."""

    merge: bool = True
    fold: bool = True
    group: bool = True
    fixed_point: bool = True


ALL_SHORTCUTS = Options()


def check_network(network: Any) -> None:
    """Raise InputError unless it is a `Network`."""
    if not isinstance(network, Network):
        raise InputError(f"network is a {type(network).__name__}, wanted espalier.Network")


def check_choice(argument: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise InputError unless the value is one of those known."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{argument} is {value!r}, wanted one of {', '.join(known)}")


def check_memory(memory: int | None) -> int:
    """A memory budget in bytes; None becomes half of the memory free now."""
    if memory is None:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    try:
        asked = operator.index(memory)
    except TypeError:
        asked = 0
    if asked < 1:
        raise InputError(f"memory is {memory!r}, wanted a whole number of bytes above 0, or None")
    return asked
