"""`python -m benchmarks fssl`: sparse training and structured sparsity, beside others."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.fssl import claims, pareto, prediction, step
from benchmarks.fssl.plot import save_plots
from benchmarks.fssl.settings import Settings
from benchmarks.harness.benchmark import Benchmark
from espalier.nn.torch_tools import torch_threads

RUNS = "fssl-runs"  # in the output folder


@contextmanager
def _with_runs(settings: Settings, output: Path | None) -> Iterator[Settings]:
    """A folder for trainings, from which a benchmark that was interrupted goes on.

    It is below the output, or for this run alone.
    """
    with torch_threads(settings.threads):
        if settings.runs is not None:
            yield settings
        elif output is not None:
            yield replace(settings, runs=str(output / RUNS))
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield replace(settings, runs=folder)


FSSL = Benchmark[Settings](
    "fssl",
    (pareto.SECTION, claims.SECTION, step.SECTION, prediction.SECTION),
    save_plots,
    prepare=_with_runs,
)
