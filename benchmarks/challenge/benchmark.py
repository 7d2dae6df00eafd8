"""`python -m benchmarks challenge`: the Graph Challenge, beside papers and peers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.challenge import (
    against_peers,
    ceiling,
    gpu_layers,
    shortcuts,
    strategies,
    structureless,
)
from benchmarks.challenge.plot import save_plot
from benchmarks.challenge.settings import Settings
from benchmarks.harness.benchmark import Benchmark
from espalier.inference.cost import CostModel


@contextmanager
def _with_cost_model(settings: Settings, _: Path | None) -> Iterator[Settings]:
    """It is measured once for each machine, and is not part of anybody's compile time."""
    CostModel.load()
    yield settings


@contextmanager
def _with_device(settings: Settings, _: Path | None) -> Iterator[Settings]:
    """Open the GPU before anything takes time."""
    settings.gpu()
    yield settings


CHALLENGE = Benchmark(
    "challenge",
    (
        shortcuts.SECTION,
        strategies.SECTION,
        against_peers.SECTION,
        structureless.SECTION,
        ceiling.SECTION,
    ),
    save_plot,
    default=("shortcuts", "ceiling"),
    prepare=_with_cost_model,
)
GPU = Benchmark(
    "gpu",
    (shortcuts.GPU_SECTION, strategies.GPU_SECTION, structureless.GPU_SECTION, gpu_layers.SECTION),
    default=("shortcuts", "structureless"),
    prepare=_with_device,
)
