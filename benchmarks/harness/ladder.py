"""What every ladder does: read its sizes, and say what the machine can."""

from __future__ import annotations

import argparse

from benchmarks.harness.machine import Machine
from espalier.timing.interleave import ROUNDS


def parse_arguments(description: str, *, smoke: dict[str, int], **sizes: int) -> argparse.Namespace:
    """Options for sizes, threads and rounds.

    Arguments:
        smoke: sizes that take a second.
        sizes: defaults by name.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name, default in (sizes | {"threads": 1, "rounds": ROUNDS}).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it still run?")
    options = parser.parse_args()
    if options.smoke:
        vars(options).update(smoke, rounds=1)
    return options


def print_machine(machine: Machine, bandwidth: float, source: str = "") -> None:
    """What every rung is held against."""
    print(
        f"{machine.processor}, {machine.threads} threads, {machine.instruction_set}; ceilings "
        f"{machine.multiply_adds / 1e9:.1f} GMAC/s and {bandwidth / 1e9:.1f} GB/s{source}"
    )
