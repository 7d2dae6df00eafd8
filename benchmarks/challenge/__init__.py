"""`python -m benchmarks challenge`: the Graph Challenge, beside papers and peers."""

from benchmarks.challenge.run import DEFAULT_SECTIONS, SECTIONS, run
from benchmarks.challenge.settings import ALL_NETWORKS, Settings, Size, parse_size

__all__ = [
    "ALL_NETWORKS",
    "DEFAULT_SECTIONS",
    "SECTIONS",
    "Settings",
    "Size",
    "parse_size",
    "run",
]
