"""A network measured in a process of its own, so that its peak memory is its own.

The process reads what to do from standard input and answers in JSON, one line each: what it is
doing, how far it is, and in the end its record or an error.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks.challenge.settings import Settings, label
from benchmarks.harness.process import environment
from benchmarks.harness.section import Record
from espalier.errors import EspalierError
from espalier.progress import Watch

COMMAND = [sys.executable, "-m", "benchmarks.challenge"]


def measure_alone(settings: Settings, name: str, watch: Watch) -> Record:
    """Measure the network of that name in a new process, its progress passed on.

    Raises:
        EspalierError: the process reported an error, or ended without a record.
    """
    task = json.dumps({"settings": settings.to_dict(), "name": name})
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        with process.stdin:
            process.stdin.write(task)
        try:
            record = _follow(map(json.loads, process.stdout), watch)
        except BaseException:
            process.kill()
            raise
    if record is None:
        raise EspalierError(
            f"{label(name)}: the process that measured it {_ending(process.returncode)}"
        )
    return record


def _follow(messages: Any, watch: Watch) -> Record | None:
    with ExitStack() as stages:
        progress = None
        for message in messages:
            if "error" in message:
                raise EspalierError(message["error"])
            if "record" in message:
                return dict(message["record"])
            if "stage" in message:
                stages.close()
                progress = stages.enter_context(watch(message["stage"], message["unit"]))
            elif progress is not None:
                progress(message["done"], message["total"])
    return None


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no result"
    word = signal.Signals(-code).name
    hint = "; was it out of memory?" if -code == signal.SIGKILL else ""
    return f"was ended by {word}{hint}"
