"""Partitioned networks: words and balance beside random rows, and speed on real processes."""

from benchmarks.harness.benchmark import Benchmark
from benchmarks.partition import ranks, volume
from benchmarks.partition.settings import Settings

__all__ = ["PARTITION", "Settings"]

PARTITION = Benchmark("partition", (volume.SECTION, ranks.SECTION), volume.save_plots)
