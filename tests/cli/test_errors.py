"""Every error is one red line on stderr with an exit code; progress and results keep apart."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from espalier.cli import console
from espalier.errors import FileError, MissingExtraError, NetworkError


def app_raising(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=console.Commands, pretty_exceptions_enable=False)

    @app.callback()
    def options(debug: bool = False) -> None:
        pass

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NetworkError("layer 3 reads 7 inputs"), "error: layer 3 reads 7 inputs\n"),
        (FileError("net.tsv, line 2:\nnot a number"), "error: net.tsv, line 2: not a number\n"),
        (FileError("[bold]x[/bold] " + "long " * 60), "error: [bold]x[/bold] " + "long " * 59),
        (FileNotFoundError(2, "No such file", "x.tsv"), "error: x.tsv: No such file\n"),
        (MemoryError(), "error: out of memory"),
        (MissingExtraError("torch", "train", "esp.nn"), "pip install 'torch>=2.5' 'scikit-learn"),
    ],
)
def test_error_is_one_line_and_exit_code_2(error, message):
    result = CliRunner().invoke(app_raising(error), ["fail"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_table_too_wide_for_the_terminal_shows_its_rows_below_each_other(monkeypatch, capsys):
    header, rows = ["", "a long name", "another one"], [["first", "1", "2"], ["second", "3", "4"]]
    monkeypatch.setenv("COLUMNS", "60")
    console.print_rows("numbers", header, rows)
    assert "┃ a long name ┃ another one ┃" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "25")
    console.print_rows("numbers", header, rows)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip("│ ").split("│")[0].strip() for line in lines if line.startswith("│")] == [
        *("first", "a long name", "another one", "second", "a long name", "another one"),
    ]
    monkeypatch.delenv("COLUMNS")
    console.print_rows("numbers", ["", *("a long name",) * 40], [["first", *("1",) * 40]])
    assert len(capsys.readouterr().out.splitlines()) == 7


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_before_or_after_the_command_shows_the_traceback(words):
    error = NetworkError("layer 3")
    result = CliRunner().invoke(app_raising(error), words)
    assert result.exception is error


def test_a_fault_of_our_own_is_never_disguised():
    error = ZeroDivisionError("division by zero")
    result = CliRunner().invoke(app_raising(error), ["fail"])
    assert result.exception is error


def test_interrupt_ends_with_130_and_a_clean_line():
    code = textwrap.dedent("""
        import signal, time, typer
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
        from espalier.cli.console import Commands, progress

        app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

        @app.callback()
        def options(debug: bool = False) -> None: ...

        @app.command()
        def wait() -> None:
            print("waiting", flush=True)
            with progress("waiting", "naps") as update:
                while True:
                    time.sleep(0.01)

        app()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    "words",
    [
        ["infer", "radixnet:1024", "digits"],
        ["infer", "radixnet:0x5", "digits"],
        ["infer", "radixnet:16x2", "digits", "--memory", "lots"],
        ["infer", "radixnet:16x2", "digits", "--activations", "out.txt"],
        ["infer", "radixnet:16x2", "digits", "--output", "missing/out.tsv"],
        ["generate", "network", "net.mtx", "net.tsv"],
        ["generate", "images", "1024", "images.png"],
    ],
)
def test_bad_arguments_are_refused_before_any_work(espalier, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    outcome = espalier(*words)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("error: ")
    assert outcome.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_version(espalier):
    assert espalier("--version").stdout.startswith("espalier 0.")


def test_progress_is_silent_off_a_terminal(capsys):
    with console.progress("running", "layers") as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    screen = io.StringIO()

    def on_screen(**_options: object) -> Console:
        return Console(file=screen, force_terminal=True, width=100)

    monkeypatch.setattr(console, "Console", on_screen)
    return screen


def test_progress_of_a_short_task_is_silent_on_a_terminal(terminal):
    with console.progress("running", "layers") as update:
        update(1, 2)
    assert terminal.getvalue() == ""


def test_progress_of_a_long_task_shows_rate_and_time_left(terminal, monkeypatch):
    clock = iter([0.0, 2.0, 4.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock, 4.0))
    with console.progress("running", "layers") as update:
        update(30, 120)
        update(60, 120)
    shown = terminal.getvalue()
    assert "60 of 120 layers" in shown
    assert "15.0 layers/s" in shown
    assert "4.00 s left" in shown
