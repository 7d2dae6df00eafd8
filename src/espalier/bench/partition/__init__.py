"""Partitioned networks: words and balance beside random rows, and speed on real processes."""

from espalier.bench.partition.run import SECTIONS, run
from espalier.bench.partition.settings import Settings

__all__ = ["SECTIONS", "Settings", "run"]
