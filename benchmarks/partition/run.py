"""The sections of the benchmark, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Report
from benchmarks.harness.run import choose, measure_sections
from benchmarks.harness.section import Section
from benchmarks.partition import ranks, volume
from benchmarks.partition.plot import save_plots
from benchmarks.partition.settings import Settings
from espalier.cli.picture import require_matplotlib
from espalier.progress import Watch, silent

SECTIONS: dict[str, Section[Settings]] = {
    module.SECTION.name: module.SECTION for module in (volume, ranks)
}


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
        output: folder for `partition.json`, `partition.md` and the plot, written anew after every
            job.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section of that name does not exist.
        MissingExtraError: a plot is wanted without matplotlib.
    """
    chosen = choose(SECTIONS, sections)
    if output is not None:
        require_matplotlib()
    report = Report.begin("partition", settings, measure_machine(1))
    return measure_sections(report, chosen, settings, watch, output=output, plot=save_plots)
