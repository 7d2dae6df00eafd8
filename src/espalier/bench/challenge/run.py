"""All jobs of the chosen sections, one after the other; what is done is saved at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espalier.bench.challenge import (
    against_peers,
    ceiling,
    shortcuts,
    strategies,
    structureless,
)
from espalier.bench.challenge.plot import require_matplotlib, save_plot
from espalier.bench.challenge.report import Answer, Report
from espalier.bench.challenge.section import Section
from espalier.bench.challenge.settings import Settings, Watch, silent
from espalier.bench.machine import measure_machine
from espalier.errors import InputError
from espalier.inference.cost import CostModel

SECTIONS: dict[str, Section] = {
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
        sections: names out of `SECTIONS`.
        output: folder for `challenge.json`, `challenge.md` and `challenge.png`, written anew
            after every network.
        watch: called with a task and its unit; gives a context that takes its progress.

    Raises:
        InputError: a section of that name does not exist.
        MissingExtraError: a plot is wanted, but matplotlib is not installed.
        EspalierError: a contestant computes something else than the others.
    """
    for name in sections:
        if name not in SECTIONS:
            raise InputError(f"section is {name!r}, wanted one of {', '.join(SECTIONS)}, or all")
    if output is not None:
        require_matplotlib()
    CostModel.load()  # measured once for each machine; not part of anybody's compile time
    report = Report.begin(settings, measure_machine(settings.threads))
    for name in dict.fromkeys(sections):
        answer = Answer(SECTIONS[name])
        report.answers.append(answer)
        for job in answer.section.jobs(settings):
            answer.records += job(watch)
            if output is not None:
                report.save(output)
                save_plot(report, output / "challenge.png")
    return report
