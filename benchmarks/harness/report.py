"""The report of a benchmark run: what was measured on which machine, as JSON and Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import Machine
from benchmarks.harness.section import Record, Section, Settings

FORMAT = 1


@dataclass
class Answer:
    """A section and what was measured for it so far."""

    section: Section[Any]
    records: list[Record] = field(default_factory=list)

    @property
    def measured(self) -> list[Record]:
        """Those that were not skipped."""
        return [record for record in self.records if "skipped" not in record]


@dataclass(frozen=True)
class Report:
    """What was measured, with everything that stands beside a figure.

    Arguments:
        name: of the benchmark, which its files bear.
        load_average: of the last minute, before anything was measured.
        date: when it started, UTC.
    """

    name: str
    settings: Settings
    machine: Machine
    load_average: float
    date: str
    answers: list[Answer] = field(default_factory=list)

    @classmethod
    def begin(cls, name: str, settings: Settings, machine: Machine) -> Report:
        """An empty report of this moment."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(name, settings, machine, os.getloadavg()[0], date)

    @property
    def conditions(self) -> str:
        """The line that stands beside every table."""
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        return (
            f"{machine.processor}, {machine.cores} cores, {machine.threads} threads, "
            f"{machine.instruction_set}; ceilings {machine.multiply_adds / 1e9:.0f} GMAC/s and "
            f"{machine.bandwidth / 1e9:.1f} GB/s; up to {self.settings.rounds} rounds; load "
            f"average {self.load_average:.2f} at the start; {self.date}; {versions}."
        )

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Title, header and rows of every table with something in it."""
        for answer in self.answers:
            for table in answer.section.tables:
                rows = table.rows(answer.records)
                if rows:
                    yield table.title, table.header, rows

    def measured(self, section: str) -> list[Record]:
        """The records of a section that were not skipped."""
        every = [answer for answer in self.answers if answer.section.name == section]
        return [record for answer in every for record in answer.measured]

    def save_figure(self, figure: Any, path: Path) -> None:
        """Write a picture with the machine above it."""
        from espalier.cli.picture import save_figure

        machine = self.machine
        title = f"{machine.processor}, {machine.threads} threads, {machine.instruction_set}"
        figure.suptitle(title, fontsize=9)
        save_figure(figure, path)

    def notes(self, answer: Answer) -> list[str]:
        """How a section was measured, and what was skipped and why."""
        measured = answer.measured
        said = answer.section.notes(self.settings, measured) if measured else []
        return said + [
            f"Skipped: {record['network']}, {record['name']}: {record['skipped']}"
            for record in answer.records
            if "skipped" in record
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "format": FORMAT,
            "date": self.date,
            "load_average": self.load_average,
            "machine": self.machine.to_dict(),
            "settings": self.settings.public(),
            "sections": {
                answer.section.name: {"records": answer.records, "notes": self.notes(answer)}
                for answer in self.answers
            },
        }

    def to_json(self) -> str:
        """The report as text in JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_markdown(self) -> str:
        """The report as a Markdown page."""
        parts = [f"# benchmarks {self.name}", self.conditions]
        for answer in self.answers:
            parts.append(f"## {answer.section.name}")
            for table in answer.section.tables:
                rows = table.rows(answer.records)
                if rows:
                    parts += [f"**{table.title}**", _markdown_table(table.header, rows)]
                    parts.append(f"<sub>{self.conditions}</sub>")
            notes = self.notes(answer)
            if notes:
                parts.append("\n".join(f"- {note}" for note in notes))
        return "\n\n".join(parts) + "\n"

    def save(self, folder: Path) -> None:
        """Write JSON and Markdown; what is there stays until both are whole."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"json": self.to_json(), "md": self.to_markdown()}
        for ending, content in texts.items():
            name = f"{self.name}.{ending}"
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_text(content, encoding="utf-8")
            draft.replace(folder / name)


def _markdown_table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
