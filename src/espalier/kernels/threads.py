"""How many threads a call uses."""

from __future__ import annotations

import operator

from espalier import _native
from espalier.errors import InputError

MAX_THREADS = 1024


def thread_count(threads: int | None = None) -> int:
    """Threads a call will use: the number asked for, else OpenMP's default; 1 after a fork.

    OpenMP's default is ``OMP_NUM_THREADS``, or the number torch was told, or all cores.
    """
    if threads is None:
        return int(_native.thread_count(0))
    try:
        asked = operator.index(threads)
    except TypeError:
        asked = 0
    if not 1 <= asked <= MAX_THREADS:
        raise InputError(
            f"threads is {threads!r}, wanted a whole number from 1 to {MAX_THREADS}, or None for "
            "the default"
        )
    return int(_native.thread_count(asked))
