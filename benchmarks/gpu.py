"""Everything a machine with an NVIDIA GPU is needed for, in one go and within a few minutes.

    python -m benchmarks.gpu RESULTS [--full] [--minutes 7]

Runs the tests marked ``gpu``, compute-sanitizer over a small run where it is installed, and the
benchmark tables; writes what each said into the folder RESULTS, with a summary in `summary.txt`.
Each step has its share of the time, so the tables are there even if a test hangs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.process import REPOSITORY, environment

QUICK = ("1024x120", "1024x1920", "4096x120", "16384x120")
SMALL_TEST = "test_small_for_the_sanitizer"


@dataclass(frozen=True)
class Step:
    """One command, and the most seconds it may take."""

    name: str
    command: list[str]
    seconds: float


def steps(folder: Path, full: bool) -> list[Step]:
    """All steps in order; the tables come before the slow sanitizer."""
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    found = [Step("tests", [*tests, "tests/gpu"], 150)]
    bench = [sys.executable, "-m", "benchmarks", "challenge", "--device", "cuda"]
    networks = ["--all"] if full else [word for each in QUICK for word in ("--network", each)]
    found.append(
        Step(
            "shortcuts",
            [*bench, *networks, "--section", "shortcuts", "--output", str(folder / "shortcuts")],
            3600 if full else 150,
        )
    )
    for section in ("structureless", "layers", "strategies"):
        output = ["--section", section, "--output", str(folder / section)]
        limit = ["--limit", "120" if full else "20"]
        found.append(Step(section, [*bench, *output, *limit], 1200 if full else 60))
    if sanitizer := shutil.which("compute-sanitizer"):
        small = [*tests, "tests/gpu", "-k", SMALL_TEST]
        for tool in ("memcheck", "racecheck", "synccheck"):
            command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *small]
            found.append(Step(tool, command, 60))
    return found


def run(step: Step, folder: Path, left: float) -> str:
    """Run a step; returns a line for the summary."""
    start = time.perf_counter()
    log = folder / f"{step.name}.txt"
    with log.open("w") as out:
        try:
            seconds = max(min(step.seconds, left), 1.0)
            done = subprocess.run(
                step.command,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=environment(),
                timeout=seconds,
            )
            said = "ok" if done.returncode == 0 else f"FAILED with exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            said = "stopped: its time was over"
    return f"{step.name}: {said} after {time.perf_counter() - start:.0f} s, see {log.name}"


def main() -> int:
    """Run all steps; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="folder to write to")
    parser.add_argument("--full", action="store_true", help="all twelve networks; takes an hour")
    parser.add_argument("--minutes", type=float, default=7.0, help="for everything")
    chosen = parser.parse_args()
    chosen.results.mkdir(parents=True, exist_ok=True)
    end = time.perf_counter() + (7200 if chosen.full else chosen.minutes * 60)
    lines: list[str] = []
    for step in steps(chosen.results.resolve(), chosen.full):
        lines.append(run(step, chosen.results, end - time.perf_counter()))
        print(lines[-1], flush=True)
        (chosen.results / "summary.txt").write_text("\n".join(lines) + "\n")
    return int(any("FAILED" in line or "stopped" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
