"""A benchmark: its sections, measured one after the other; what is done is saved at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from benchmarks.harness.machine import measure_machine
from benchmarks.harness.report import Answer, Report
from benchmarks.harness.section import Section, SettingsT
from espalier.cli.picture import require_matplotlib
from espalier.errors import InputError
from espalier.progress import Watch, silent

Plot = Callable[[Report, Path], None]


@dataclass(frozen=True)
class Benchmark(Generic[SettingsT]):
    """All tables of one subject.

    Arguments:
        name: of the report's files.
        all_sections: in the order they are measured in.
        plot: draws the report into a folder; None draws nothing.
        default: names of the sections that are measured by default; None for all.
        prepare: what holds while they are measured; it may change the settings, and gets the
            folder of the report.
    """

    name: str
    all_sections: Sequence[Section[SettingsT]]
    plot: Plot | None = None
    default: Sequence[str] | None = None
    prepare: Callable[[SettingsT, Path | None], AbstractContextManager[SettingsT]] = (
        lambda settings, output: nullcontext(settings)
    )

    @property
    def sections(self) -> dict[str, Section[SettingsT]]:
        """By name."""
        return {section.name: section for section in self.all_sections}

    def run(
        self,
        settings: SettingsT,
        sections: Sequence[str] | None = None,
        *,
        output: Path | None = None,
        watch: Watch = silent,
    ) -> Report:
        """Measure some sections.

        Arguments:
            sections: names, or ``all``; None for those that are measured by default.
            output: folder for the report in JSON and Markdown and for the plots, written anew
                after every job; None for no files.
            watch: called with a task and its unit; gives a context that takes its progress.

        Raises:
            InputError: a section of that name does not exist.
            MissingExtraError: a package is not installed, matplotlib where a plot is wanted.
            EspalierError: a candidate computes something else than the others.
        """
        chosen = self._choose(sections or self.default or ("all",))
        plot = self.plot
        if output is not None and plot is not None:
            require_matplotlib()
        with self.prepare(settings, output) as settings:
            report = Report.begin(self.name, settings, measure_machine(settings.threads))
            for section in chosen:
                answer = Answer(section)
                report.answers.append(answer)
                for job in section.jobs(settings):
                    answer.records += job(watch)
                    if output is not None:
                        report.save(output)
                        if plot is not None:
                            plot(report, output)
        return report

    def _choose(self, names: Sequence[str]) -> list[Section[SettingsT]]:
        """The sections of these names, each once; ``all`` means every one."""
        known = self.sections
        for name in names:
            if name not in known and name != "all":
                raise InputError(f"section is {name!r}, wanted one of {', '.join(known)}, or all")
        return [known[name] for name in dict.fromkeys(known if "all" in names else names)]
