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


class Table:
    """One view of a section's records.

    Arguments:
        select: makes the records to show of those that were measured; all of them by default.
    """

    def __init__(
        self,
        title: str,
        *columns: Column,
        select: Callable[[Sequence[Record]], Sequence[Record]] = lambda records: records,
    ) -> None:
        self.title, self._columns, self._select = title, columns, select
        self.header = [column.header for column in columns]

    def rows(self, records: Sequence[Record]) -> list[list[str]]:
        """The cells of every record that was measured."""
        measured = [record for record in records if "skipped" not in record]
        return [
            [column.text(record) for column in self._columns] for record in self._select(measured)
        ]


class Section(Generic[SettingsT]):
    """One question, how to measure it, and how to read the answer.

    Arguments:
        name: what the command line calls it.
        jobs: the measurements these settings ask for.
        notes: how it was measured and what follows, one sentence or two each.
        tables: views of the records.
    """

    def __init__(
        self,
        name: str,
        jobs: Callable[[SettingsT], list[Job]],
        notes: Callable[[SettingsT, list[Record]], list[str]],
        *tables: Table,
    ) -> None:
        self.name, self.jobs, self.notes, self.tables = name, jobs, notes, tables


def skipped(network: str, name: str, reason: object) -> Record:
    """The record of something that was not measured; it becomes a note."""
    return {"network": network, "name": name, "skipped": str(reason)}


def grouped(records: Sequence[Record], *keys: str) -> list[list[Record]]:
    """Records that agree in these keys, in the order of their first.

    >>> grouped([{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}], "a")
    [[{'a': 1, 'b': 1}, {'a': 1, 'b': 2}], [{'a': 2, 'b': 1}]]
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    return list(groups.values())
