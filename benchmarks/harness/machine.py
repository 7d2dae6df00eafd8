"""The machine a measurement was made on: what it is, and its two ceilings."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from espalier import kernels
from espalier.timing.processor import processor_name

PACKAGES = (
    "espalier",
    "numpy",
    "scipy",
    "torch",
    "sparselab",
    "python-graphblas",
    "suitesparse-graphblas",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What stands beside every figure.

    Arguments:
        processor: the model's name.
        cores: cores this process may use.
        threads: threads the measurement used.
        instruction_set: of espalier's kernels.
        multiply_adds: measured ceiling, multiply-adds per second in float32 registers.
        bandwidth: measured ceiling, bytes read from memory per second.
        versions: of Python and the packages that are installed.
    """

    processor: str
    cores: int
    threads: int
    instruction_set: str
    multiply_adds: float
    bandwidth: float
    versions: dict[str, str]

    def share_of_peak(self, multiply_adds: float, seconds: float) -> float:
        """Part of the multiply-add ceiling that this much work in this time reaches."""
        return multiply_adds / seconds / self.multiply_adds

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def measure_machine(threads: int | None = None) -> Machine:
    """Describe this machine and measure its ceilings with ``threads`` threads (None: all)."""
    return Machine(
        processor=processor_name(),
        cores=len(os.sched_getaffinity(0)),
        threads=kernels.thread_count(threads),
        instruction_set=kernels.instruction_set(),
        multiply_adds=kernels.peak_multiply_adds(threads),
        bandwidth=kernels.peak_bandwidth(threads),
        versions={"python": platform.python_version()} | _installed_versions(),
    )


def _installed_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
