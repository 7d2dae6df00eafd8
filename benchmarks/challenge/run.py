"""The sections of the benchmark, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.challenge import against_peers, ceiling, shortcuts, strategies, structureless
from benchmarks.challenge.plot import save_plot
from benchmarks.challenge.settings import Settings
from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Report
from benchmarks.harness.run import choose, measure_sections
from benchmarks.harness.section import Section
from espalier.cli.picture import require_matplotlib
from espalier.inference.cost import CostModel
from espalier.progress import Watch, silent

SECTIONS: dict[str, Section[Settings]] = {
    module.SECTION.name: module.SECTION
    for module in (shortcuts, strategies, against_peers, structureless, ceiling)
}
DEFAULT_SECTIONS = ("shortcuts", "ceiling")


def run(
    settings: Settings,
    sections: Sequence[str] = DEFAULT_SECTIONS,
    *,
    output: Path | None = None,
    watch: Watch = silent,
) -> Report:
    """Measure the chosen sections.

    Arguments:
        sections: names out of `SECTIONS`, or ``all``.
        output: folder for `challenge.json`, `challenge.md` and `challenge.png`, written anew
            after every network.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section of that name does not exist.
        MissingExtraError: a plot is wanted, but matplotlib is not installed.
        EspalierError: a candidate computes something else than the others.
    """
    chosen = choose(SECTIONS, sections)
    if output is not None:
        require_matplotlib()
    CostModel.load()  # measured once for each machine; not part of anybody's compile time
    report = Report.begin("challenge", settings, measure_machine(settings.threads))
    return measure_sections(report, chosen, settings, watch, output=output, plot=save_plot)
