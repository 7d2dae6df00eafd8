"""Partitioned networks: words and balance beside random rows, and speed on real processes."""

from benchmarks.partition.run import SECTIONS, run
from benchmarks.partition.settings import Settings

__all__ = ["SECTIONS", "Settings", "run"]
