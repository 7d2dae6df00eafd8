"""Time to read the official 1024 x 120 network, against numpy.loadtxt and pandas.

    python -m benchmarks.read_network path/to/neuron1024.tar.gz [--rounds 7]

Readers run interleaved, A B C A B C ..., in one process; the table shows medians, the spread from
the fastest to the slowest round, and ratios of medians. "folder" is the unpacked tar; "safetensors,
opened" is load() alone, which reads layers on demand; "safetensors, all layers" uses each once.
"""

from __future__ import annotations

import argparse
import platform
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

import espalier as esp
from espalier.timing.interleave import time_interleaved

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
        seconds = time_interleaved(
            readers(arguments.tar, folder, saved), rounds=arguments.rounds, settle=0.0
        )

    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "isal"))
    print(f"{platform.processor() or platform.machine()}, {versions}, {arguments.rounds} rounds\n")
    ours = seconds["tar.gz  espalier"].median
    print(f"{'reader':<26}{'median ms':>10}{'spread ms':>16}{'x our tar.gz':>14}")
    for name, times in seconds.items():
        spread = f"{times.low * 1e3:.1f}-{times.high * 1e3:.1f}"
        print(f"{name:<26}{times.median * 1e3:>10.1f}{spread:>16}{times.median / ours:>14.2f}")


if __name__ == "__main__":
    main()
