"""Which processor this is: measured figures belong to it."""

from __future__ import annotations

import functools
import platform
from pathlib import Path


@functools.cache  # many cores have a long description
def processor_name(description: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name, or its architecture where Linux does not tell."""
    try:
        lines = description.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
