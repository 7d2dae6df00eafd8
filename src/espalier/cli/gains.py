"""What a training says while it runs, and what was gained in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from espalier.cli import units
from espalier.cli.console import print_facts, print_notice, print_rows

if TYPE_CHECKING:
    from espalier.training import Network, TrainingResult
    from espalier.training.record import Record

HEADER = (
    "",
    "test error",
    "zeros",
    "weights",
    "bytes",
    "multiply-adds",
    "predicted",
    "measured",
    "units",
)


def print_epoch(record: Record, *, epochs: int) -> None:
    """One line on stderr."""
    print_notice(
        f"epoch {record.epoch} of {epochs}, {record.phase}: loss {record.loss:.4f}, test accuracy "
        f"{record.test_accuracy:.2%}, zeros {record.zeros:.1%}, time {record.predicted_time:.3f}, "
        f"lr {record.lr:.3g}, {units.seconds(record.seconds)}"
    )


def print_result(result: TrainingResult) -> None:
    """The final table, the target and where the model is."""
    settings = result.settings
    print_networks(
        f"{settings.method} on {settings.data}; times of a batch of {result.batch}",
        (result.dense, result.compact),
    )
    verdict = None if settings.target is None else result.verdict()
    facts = {} if result.path is None else {"model": str(result.path)}
    print_facts("the end", facts, verdict=verdict)


def print_networks(title: str, networks: Sequence[Network]) -> None:
    """One row for each network, and one of how much smaller the last is than the first."""
    rows = [_row(network) for network in networks]
    print_rows(title, HEADER, [*rows, _gain(networks[0], networks[-1])])


def _row(network: Network) -> list[str]:
    return [
        network.name,
        "-" if network.error is None else f"{network.error:.2%}",
        f"{network.zeros:.1%}",
        units.count(network.weights),
        units.size(network.bytes),
        units.count(network.multiply_adds),
        units.seconds(network.predicted_seconds),
        units.seconds(network.measured_seconds),
        "-".join(map(str, network.units)),
    ]


def _gain(first: Network, last: Network) -> list[str]:
    pairs = (
        (first.weights, last.weights),
        (first.bytes, last.bytes),
        (first.multiply_adds, last.multiply_adds),
        (first.predicted_seconds, last.predicted_seconds),
        (first.measured_seconds, last.measured_seconds),
    )
    return ["gain", "", "", *(f"{before / after:.1f}x" for before, after in pairs), ""]
