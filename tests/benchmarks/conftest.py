"""Run the benchmarks' command line in this process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from benchmarks.command import app

Outcome = subprocess.CompletedProcess[str]


@pytest.fixture
def benchmarks() -> Callable[..., Outcome]:
    """Call `python -m benchmarks`; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> Outcome:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(words, result.exit_code, result.stdout, result.stderr)

    return run
