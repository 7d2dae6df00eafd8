"""All jobs of the chosen sections, one after the other; what is done is saved at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.report import Answer, Report
from benchmarks.harness.section import Section, SettingsT
from espalier.errors import InputError
from espalier.progress import Watch


def choose(
    known: Mapping[str, Section[SettingsT]], names: Sequence[str]
) -> list[Section[SettingsT]]:
    """The sections of these names, each once; ``all`` means every one.

    Raises:
        InputError: a section of that name does not exist.
    """
    for name in names:
        if name not in known and name != "all":
            raise InputError(f"section is {name!r}, wanted one of {', '.join(known)}, or all")
    return [known[name] for name in dict.fromkeys(known if "all" in names else names)]


def measure_sections(
    report: Report,
    sections: Sequence[Section[SettingsT]],
    settings: SettingsT,
    watch: Watch,
    *,
    output: Path | None,
    plot: Callable[[Report, Path], None],
) -> Report:
    """Fill the report, section by section.

    Arguments:
        output: folder for the report in JSON and Markdown and for the plots, written anew after
            every job; None for no files.
        plot: draws the report into that folder.
    """
    for section in sections:
        answer = Answer(section)
        report.answers.append(answer)
        for job in section.jobs(settings):
            answer.records += job(watch)
            if output is not None:
                report.save(output)
                plot(report, output)
    return report
