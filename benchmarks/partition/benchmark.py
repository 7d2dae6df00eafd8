"""Partitioned networks: words and balance beside random rows, and speed on real processes."""

from benchmarks.harness.benchmark import Benchmark
from benchmarks.partition import ranks, volume

PARTITION = Benchmark("partition", (volume.SECTION, ranks.SECTION), volume.save_plots)
