"""A section of the report: jobs that make records, and tables that show them.

A record is a plain JSON object. Jobs measure, tables only choose and format, so that the
terminal, Markdown, JSON and the plot all show the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from typer import Option

from espalier.progress import Watch

# Fields of settings that several commands take.
Rounds = Annotated[int, Option(min=1, help="Timed rounds of each candidate.")]
Threads = Annotated[int, Option(min=1, help="Threads of all candidates; all by default.")]
Mnist = Annotated[
    str | None, Option(metavar="PATH", help="Folder of MNIST to train on, in place of the digits.")
]

Record = dict[str, Any]
Job = Callable[[Watch], list[Record]]  # measures one network


class Settings(Protocol):
    """What every benchmark's settings know."""

    @property
    def rounds(self) -> int:
        """Timed rounds of each candidate."""

    @property
    def threads(self) -> int:
        """Threads of every candidate."""

    def public(self) -> dict[str, Any]:
        """The settings as JSON values for a report that others read."""


SettingsT = TypeVar("SettingsT", bound=Settings, contravariant=True)


@dataclass(frozen=True)
class Column:
    """One column: its header, and the text of a record's cell."""

    header: str
    text: Callable[[Record], str]


@dataclass(frozen=True)
class Table:
    """One view of a section's records.

    Arguments:
        select: makes the records to show of those that were measured; all of them by default.
    """

    title: str
    columns: tuple[Column, ...]
    select: Callable[[Sequence[Record]], Sequence[Record]] = lambda records: records

    @property
    def header(self) -> list[str]:
        """Headers of all columns."""
        return [column.header for column in self.columns]

    def rows(self, records: Sequence[Record]) -> list[list[str]]:
        """The cells of every record that was measured."""
        measured = [record for record in records if "skipped" not in record]
        return [
            [column.text(record) for column in self.columns] for record in self.select(measured)
        ]


@dataclass(frozen=True)
class Section(Generic[SettingsT]):
    """One question, how to measure it, and how to read the answer.

    Arguments:
        name: what the command line calls it.
        tables: views of the records.
        jobs: the measurements these settings ask for.
        notes: how it was measured and what follows, one sentence or two each.
    """

    name: str
    tables: tuple[Table, ...]
    jobs: Callable[[SettingsT], list[Job]]
    notes: Callable[[SettingsT, list[Record]], list[str]]


def skipped(network: str, name: str, reason: object) -> Record:
    """The record of something that was not measured; it becomes a note."""
    return {"network": network, "name": name, "skipped": str(reason)}
