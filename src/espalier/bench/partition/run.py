"""The sections of the benchmark, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espalier.bench.figure import require_matplotlib
from espalier.bench.machine import measure_machine
from espalier.bench.partition import ranks, volume
from espalier.bench.partition.plot import save_plots
from espalier.bench.partition.settings import Settings
from espalier.bench.report import Report
from espalier.bench.run import choose, measure_sections
from espalier.bench.section import Section
from espalier.watch import Watch, silent

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
