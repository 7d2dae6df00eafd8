"""Time to read the official 1024 x 120 network, against numpy.loadtxt and pandas.

    python benchmarks/read_network.py path/to/neuron1024.tar.gz [--rounds 7]

Readers run in turn, A B C A B C ..., in one process; the table shows medians, the spread from the
fastest to the slowest round, and ratios of medians. "folder" is the unpacked tar; "safetensors,
opened" is load() alone, which reads layers on demand; "safetensors, all layers" uses each once.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import espalier as esp

Reader = Callable[[], Any]


def readers(tar: Path, folder: Path, saved: Path) -> dict[str, Reader]:
    """Every reader by its name."""

    def each_in_tar(read: Callable[[Any], Any]) -> list[Any]:
        with tarfile.open(tar) as members:
            return [read(members.extractfile(member)) for member in members if member.isfile()]

    def pandas_read(file: Any) -> pd.DataFrame:
        return pd.read_csv(file, sep="\t", header=None)

    files = sorted(folder.glob("*.tsv"))
    return {
        "tar.gz  espalier": lambda: esp.load(tar),
        "tar.gz  numpy.loadtxt": lambda: each_in_tar(np.loadtxt),
        "tar.gz  pandas.read_csv": lambda: each_in_tar(pandas_read),
        "folder  espalier": lambda: esp.load(folder),
        "folder  numpy.loadtxt": lambda: [np.loadtxt(file) for file in files],
        "folder  pandas.read_csv": lambda: [pandas_read(file) for file in files],
        "safetensors, opened": lambda: esp.load(saved),
        "safetensors, all layers": lambda: list(esp.load(saved)),
    }


def measure(named: dict[str, Reader], rounds: int) -> dict[str, list[float]]:
    """Seconds of each reader in each round, after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in named}
    for turn in range(rounds + 1):
        for name, read in named.items():
            start = time.perf_counter()
            result = read()
            elapsed = time.perf_counter() - start
            del result
            if turn:
                seconds[name].append(elapsed)
    return seconds


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tar", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(arguments.tar) as members:
            members.extractall(scratch, filter="data")
        folder = next(Path(scratch).iterdir())
        saved = Path(scratch) / "network.safetensors"
        esp.save(esp.load(arguments.tar), saved)
        seconds = measure(readers(arguments.tar, folder, saved), arguments.rounds)

    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "isal"))
    print(f"{platform.processor() or platform.machine()}, {versions}, {arguments.rounds} rounds\n")
    ours = statistics.median(seconds["tar.gz  espalier"])
    print(f"{'reader':<26}{'median ms':>10}{'spread ms':>16}{'x our tar.gz':>14}")
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times) * 1e3:.1f}-{max(times) * 1e3:.1f}"
        print(f"{name:<26}{median * 1e3:>10.1f}{spread:>16}{median / ours:>14.2f}")


if __name__ == "__main__":
    main()
