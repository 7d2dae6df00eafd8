"""Processes: the memory of this one, and how to start others that import the benchmarks."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import espalier

REPOSITORY = Path(__file__).resolve().parents[2]


def peak_memory(status: Path = Path("/proc/self/status")) -> int:
    """Most bytes of this process that were resident at once.

    Linux's own counter is read where there is one: `getrusage` starts a process at the peak of
    the process that started it.
    """
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        match = None
    kibibytes = int(match[1]) if match else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes * 1024


def too_large(connections: int, bytes_each: int) -> str | None:
    """Why this many weights are not held in memory at once, None where they fit in half of it."""
    wanted = connections * bytes_each
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 2 * wanted <= free:
        return None
    return (
        f"its weights take {wanted / 2**30:.1f} GiB, of {free / 2**30:.1f} GiB free half is used "
        "at most"
    )


def environment() -> dict[str, str]:
    """For a process in any folder: it imports these benchmarks and this espalier."""
    package = Path(espalier.__file__).parents[1]
    paths = [str(REPOSITORY), str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
