"""What every command shares: progress on stderr, results on stdout, errors in one red line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from espalier.cli import format
from espalier.errors import EspalierError
from espalier.inference import Report
from espalier.progress import Progress

SHOW_AFTER = 1.0  # seconds a task may take before it gets a bar
FILE_WIDTH = 160  # of text that goes to a file or a pipe, unless COLUMNS says another
MOST_WIDTH = 1000  # of a table there
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


class Commands(TyperGroup):
    """The group of all commands; turns errors into one line and an exit code.

    `--debug` is understood before and after the command's name and shows the traceback instead.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move `--debug` to the front, where the group's own options stand."""
        debug = ["--debug"] if "--debug" in args else []
        return super().parse_args(ctx, debug + [word for word in args if word != "--debug"])

    def invoke(self, ctx: Any) -> Any:
        """Run the command and end with the exit code its error deserves."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (EspalierError, OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            print_error(_describe(error))
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt:
            print_error("interrupted")
            raise typer.Exit(INTERRUPTED) from None


def print_error(message: str) -> None:
    """One red line on stderr."""
    line = Text(f"error: {' '.join(message.split())}", style="red")
    Console(stderr=True, soft_wrap=True).print(line)


def print_notice(message: str) -> None:
    """One line on stderr that is no error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(" ".join(message.split())))


def print_text(text: str) -> None:
    """A paragraph of a result for people, wrapped to the terminal, and an empty line."""
    _result_console().print(Text(text), end="\n\n")


def print_nothing(text: str) -> None:
    """In place of `print_text` for machines, and of `print_notice` on ranks other than 0."""


def print_json(value: Mapping[str, Any]) -> None:
    """A result for machines."""
    typer.echo(json.dumps(value, indent=2))


def print_facts(title: str, facts: Mapping[str, str], *, verdict: str | None = None) -> None:
    """A two-column table of names and values; a verdict is its last row, in green or red."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    if verdict is not None:
        style = "bold green" if verdict.startswith("PASSED") else "bold red"
        table.add_row("result", Text(verdict, style=style))
    _result_console(table).print(table)


def print_rows(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with a header; the first line of the first column names the row."""
    table = Table(title=title, title_justify="left")
    for column in header:
        table.add_column(column, overflow="fold")
    rows = [list(row) for row in rows]
    for name, *values in rows:
        table.add_row(_name(name), *map(Text, values))
    console = _result_console(table)
    if console.width < _least_width(console, table):
        table = _below_each_other(title, header, rows)
    console.print(table, "")


def print_shortcuts(report: Report) -> None:
    """Which shortcuts a run took, what each saved, why it is exact, and the operations left."""
    share = report.effective_operations / max(report.nominal_operations, 1)
    print_rows(
        f"{format.quantity(report.effective_operations)} of "
        f"{format.quantity(report.nominal_operations)} operations done ({share:.3%})",
        ("shortcut", "saved", "exact because"),
        (
            (shortcut.name, shortcut.saved if shortcut.used else "not used", shortcut.proof)
            for shortcut in report.shortcuts
        ),
    )


def _below_each_other(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """The rows of a table that is too wide, each as lines of a name and a value."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, *values in rows:
        table.add_row(_name(name), "")
        for column, value in zip(header[1:], values, strict=True):
            table.add_row(f"  {column}", Text(value))
        table.add_section()
    return table


def _name(text: str) -> Text:
    first, *rest = text.split("\n", 1)
    return Text("\n").join((Text(first, style="bold"), *map(Text, rest)))


def _result_console(table: Table | None = None) -> Console:
    """Output as wide as the terminal; in a file, wide enough that no table wraps."""
    console = Console()
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(width=FILE_WIDTH if table is None else _measured(console, table).maximum)


def _least_width(console: Console, table: Table) -> int:
    """The width below which nearly every word of a table would stand alone on its line."""
    measured = _measured(console, table)
    return measured.minimum + (measured.maximum - measured.minimum) // 4


def _measured(console: Console, table: Table) -> Measurement:
    return console.measure(table, options=console.options.update(max_width=MOST_WIDTH))


@contextmanager
def progress(task: str, unit: str) -> Iterator[Progress]:
    """A bar with rate and time left for a task of over a second; silent off a terminal.

    Arguments:
        task: what is done, such as ``"reading layers"``.
        unit: what is counted, such as ``"layers"``.

    Returns:
        the ``progress(done, total)`` callback the library's functions take.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} {task.fields[unit]}"),
        TextColumn("[dim]{task.fields[pace]}"),
        console=console,
        transient=True,
    )
    started = time.monotonic()
    row = bar.add_task(task, total=1, unit=unit, pace="")

    def update(done: int, total: int) -> None:
        elapsed = time.monotonic() - started
        if elapsed < SHOW_AFTER:
            return
        bar.update(row, completed=done, total=total, pace=_pace(done, total, elapsed, unit))
        bar.start()

    try:
        yield update
    finally:
        bar.stop()


def _pace(done: int, total: int, elapsed: float, unit: str) -> str:
    if done <= 0:
        return ""
    pace = format.quantity(done / elapsed, f"{unit}/s")
    left = elapsed / done * max(total - done, 0)
    return f"{pace}, {format.seconds(left)} left" if left else pace


def _describe(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; give --memory a smaller budget or run fewer inputs at a time"
    if isinstance(error, OSError) and not isinstance(error, EspalierError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return str(error) or type(error).__name__
