"""Peak memory of training, in a process of its own: run it with ``python -m``.

The process reads its task from standard input as JSON and answers with one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.harness.process import environment, peak_memory
from benchmarks.sparsetrain.images import Images
from benchmarks.sparsetrain.settings import SMALL_MODEL, Settings
from benchmarks.sparsetrain.training import Trainer
from espalier.errors import EspalierError

COMMAND = [sys.executable, "-m", "benchmarks.sparsetrain.alone"]
STEPS = 3


def measure_memory(
    settings: Settings, name: str, batch: int, *, accelerated: bool
) -> dict[str, int]:
    """Most bytes resident in a new process that trains, and how many of them the steps added.

    Raises:
        EspalierError: the process failed.
    """
    task = {
        "name": name,
        "batch": batch,
        "accelerated": accelerated,
        "threads": settings.threads,
    }
    done = subprocess.run(
        COMMAND,
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise EspalierError(
            f"{name}: the process that trained it ended with exit code {done.returncode}: "
            f"{reason[0]}"
        )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Train, and write the memory it took."""
    import torch

    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    images = Images.noise(task["batch"], small=task["name"] == SMALL_MODEL)
    before = peak_memory()
    trainer = Trainer(task["name"], images, task["batch"], accelerated=task["accelerated"])
    for _ in range(STEPS):
        trainer.step()
    peak = peak_memory()
    print(json.dumps({"peak_bytes": peak, "step_bytes": peak - before}))


if __name__ == "__main__":
    main()
