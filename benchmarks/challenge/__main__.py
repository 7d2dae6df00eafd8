"""The process that `alone.measure_alone` starts: one network, one record."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.challenge.settings import Settings
from benchmarks.challenge.shortcuts import measure
from espalier.errors import EspalierError
from espalier.progress import Progress

STEPS = 200  # messages of progress of one stage, at most


def main() -> int:
    """Read the task, measure, write the record."""
    task = json.load(sys.stdin)
    try:
        record = measure(Settings.from_dict(task["settings"]), task["name"], watch)
    except (EspalierError, OSError) as error:
        say(error=str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    say(record=record)
    return 0


@contextmanager
def watch(task: str, unit: str) -> Iterator[Progress]:
    """Pass a stage and its progress on."""
    say(stage=task, unit=unit)
    said = 0

    def progress(done: int, total: int) -> None:
        nonlocal said
        step = STEPS * done // max(total, 1)
        if step != said:
            said = step
            say(done=done, total=total)

    yield progress


def say(**message: Any) -> None:
    """One line of JSON."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
