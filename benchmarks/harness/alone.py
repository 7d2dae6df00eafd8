"""A measurement in a process of its own, so that its peak memory is its own.

The process reads what to do from standard input and answers in JSON, one line each: what it is
doing, how far it is, and in the end its record or an error.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.harness.process import environment
from benchmarks.harness.section import Record
from espalier.errors import EspalierError
from espalier.progress import Progress, Watch

COMMAND = [sys.executable, "-m", "benchmarks.harness.alone"]
STEPS = 200  # messages of progress of one stage, at most


def measure_alone(measure: Callable[[Watch], Record], name: str, watch: Watch) -> Record:
    """Measure in a new process, its progress passed on.

    Arguments:
        measure: a function of a module, or a `partial` of one.
        name: what is measured, for errors.

    Raises:
        EspalierError: the process reported an error, or ended without a record.
    """
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        with process.stdin:
            process.stdin.write(pickle.dumps(measure))
        try:
            record = _follow(map(json.loads, process.stdout), watch)
        except BaseException:
            process.kill()
            raise
    if record is None:
        raise EspalierError(f"{name}: the process that measured it {_ending(process.returncode)}")
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


def main() -> int:
    """The new process: read what to measure, measure, write the record."""
    measure = pickle.load(sys.stdin.buffer)
    try:
        record = measure(_watch)
    except (EspalierError, OSError) as error:
        _say(error=str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    _say(record=record)
    return 0


@contextmanager
def _watch(task: str, unit: str) -> Iterator[Progress]:
    """Pass a stage and its progress on."""
    _say(stage=task, unit=unit)
    said = 0

    def progress(done: int, total: int) -> None:
        nonlocal said
        step = STEPS * done // max(total, 1)
        if step != said:
            said = step
            _say(done=done, total=total)

    yield progress


def _say(**message: Any) -> None:
    """One line of JSON."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
