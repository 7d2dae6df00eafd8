"""Run the command line in this process, or as a user does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from espalier.cli import app

Outcome = subprocess.CompletedProcess[str]
Espalier = Callable[..., Outcome]


@pytest.fixture
def espalier() -> Espalier:
    """Call the commands in this process; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> Outcome:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(words, result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def espalier_process() -> Espalier:
    """Call the commands in a process of their own, with extra environment variables."""

    def run(*arguments: object, **environment: str) -> Outcome:
        command = [sys.executable, "-m", "espalier"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=120,
            check=False,
        )

    return run
