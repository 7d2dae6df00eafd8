"""The lines that a training prints while it runs, and its final table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from espalier.cli import format
from espalier.cli.console import print_facts, print_notice, print_rows

if TYPE_CHECKING:
    from espalier.training import EpochMetrics, NetworkSize, TrainingResult


def print_epoch(metrics: EpochMetrics, *, epochs: int) -> None:
    """One line on stderr."""
    print_notice(
        f"epoch {metrics.epoch} of {epochs}, {metrics.phase}: loss {metrics.loss:.4f}, "
        f"test accuracy {metrics.test_accuracy:.2%}, zeros {metrics.zeros:.1%}, "
        f"time {metrics.predicted_time:.3f}, lr {metrics.lr:.3g}, {format.seconds(metrics.seconds)}"
    )


def print_result(result: TrainingResult) -> None:
    """The final table, the target and where the model is."""
    settings = result.settings
    print_networks(
        f"{settings.method} on {settings.data}; times of a batch of {result.batch}",
        result.dense,
        result.compact,
        time=settings.time,
    )
    verdict = None if settings.target is None else result.verdict()
    facts = {} if result.path is None else {"model": str(result.path)}
    if warning := result.warning():
        facts["warning"] = warning
    print_facts("outcome", facts, verdict=verdict)


def print_networks(title: str, before: NetworkSize, after: NetworkSize, *, time: str) -> None:
    """A row for each quantity, of both networks, and how much smaller it became.

    Arguments:
        time: where predictions come from; multiply-adds give the gain alone, no seconds.
    """
    predicted = format.seconds if time == "measured" else _unknown
    rows = [
        ["test error", _error(before), _error(after), ""],
        ["zeros", f"{before.zeros:.1%}", f"{after.zeros:.1%}", ""],
        _row("weights", format.count, before.weights, after.weights),
        _row("bytes", format.size, before.bytes, after.bytes),
        _row("multiply-adds", format.count, before.multiply_adds, after.multiply_adds),
        _row("time, predicted", predicted, before.predicted_seconds, after.predicted_seconds),
        _row("time, measured", format.seconds, before.measured_seconds, after.measured_seconds),
        ["units", _units(before), _units(after), ""],
    ]
    print_rows(title, ["", before.name, after.name, "gain"], rows)


def _row(name: str, text: Callable[[Any], str], before: float, after: float) -> list[str]:
    return [name, text(before), text(after), f"{before / after:.1f}x" if after else "-"]


def _unknown(value: float) -> str:
    return "-"


def _error(network: NetworkSize) -> str:
    return "-" if network.error is None else f"{network.error:.2%}"


def _units(network: NetworkSize) -> str:
    return "-".join(map(str, network.units))
