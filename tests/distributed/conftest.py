"""Programs on real ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espalier.distributed.comm import launch

collect_ignore = ["programs"]  # which run as processes of their own
PROGRAMS = Path(__file__).parent / "programs"
LIMIT = 150  # seconds that any run may take

# launch() in a process of its own, as the command line has it.
LAUNCHER = """
import sys
from espalier.distributed.comm.launch import launch
sys.exit(launch(sys.argv[3:], int(sys.argv[1]), program=sys.argv[2].split()))
"""


@pytest.fixture
def start_ranks(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a program of tests/distributed/programs on so many ranks."""
    launch.find_mpiexec()

    def start(
        program: str, ranks: int, *arguments: object, patience: float = 60.0
    ) -> subprocess.Popen[str]:
        words = [str(ranks), str(PROGRAMS / program), *map(str, arguments)]
        environment = {
            **os.environ,
            "ESPALIER_PATIENCE": str(patience),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return start


@pytest.fixture
def run_ranks(
    start_ranks: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run such a program to its end."""

    def run(*arguments: object, **options: float) -> subprocess.CompletedProcess[str]:
        with start_ranks(*arguments, **options) as process:
            try:
                out, err = process.communicate(timeout=LIMIT)
            finally:
                process.terminate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


def answers(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What rank 0 printed last, as JSON."""
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
