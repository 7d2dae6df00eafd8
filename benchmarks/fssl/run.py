"""The sections of the benchmark, and running them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.fssl import claims, pareto, prediction, step
from benchmarks.fssl.plot import save_plots
from benchmarks.fssl.settings import Settings
from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Report
from benchmarks.harness.run import choose, measure_sections
from benchmarks.harness.section import Section
from espalier.cli.picture import require_matplotlib
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch, silent

SECTIONS: dict[str, Section[Settings]] = {
    pareto.NAME: pareto.SECTION,
    claims.NAME: claims.SECTION,
    step.NAME: step.SECTION,
    prediction.NAME: prediction.SECTION,
}
RUNS = "fssl-runs"  # in the output folder


def run(
    settings: Settings,
    sections: Sequence[str] = tuple(SECTIONS),
    *,
    output: Path | None = None,
    watch: Watch = silent,
) -> Report:
    """Measure the chosen sections.

    Arguments:
        sections: names out of `SECTIONS`, or ``all``.
        output: folder for `fssl.json`, `fssl.md` and the plots, written anew after every job, and
            for the trainings, from which a benchmark that was interrupted goes on.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section of that name does not exist, or too few epochs for a method.
        FileError: the images, or trainings of an earlier benchmark, are damaged.
        MissingExtraError: a plot is wanted without matplotlib.
        EspalierError: a sparse layer computes something else than PyTorch.
    """
    chosen = choose(SECTIONS, sections)
    if output is not None:
        require_matplotlib()
    with torch_threads(settings.threads), _runs(settings, output) as settings:
        report = Report.begin("fssl", settings, measure_machine(settings.threads))
        return measure_sections(report, chosen, settings, watch, output=output, plot=save_plots)


@contextmanager
def _runs(settings: Settings, output: Path | None) -> Iterator[Settings]:
    """The settings with a folder for trainings: below the output, or for this run alone."""
    if settings.runs is not None:
        yield settings
    elif output is not None:
        yield replace(settings, runs=str(output / RUNS))
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield replace(settings, runs=folder)
