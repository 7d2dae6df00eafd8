"""`espalier bench challenge`: the Graph Challenge on this machine, beside papers and peers."""

from espalier.bench.challenge.run import DEFAULT_SECTIONS, SECTIONS, run
from espalier.bench.challenge.settings import ALL_NETWORKS, Settings, Size, parse_size

__all__ = [
    "ALL_NETWORKS",
    "DEFAULT_SECTIONS",
    "SECTIONS",
    "Settings",
    "Size",
    "parse_size",
    "run",
]
