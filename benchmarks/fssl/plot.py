"""The report as pictures: error against weights and against time, a line for each method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fssl.methods import FSSL, FSSL_TIME, FSSL_WEIGHTS, METHODS
from benchmarks.fssl.pareto import NAME, by_method_and_goal
from benchmarks.harness.report import Report
from benchmarks.harness.section import Record

OURS = (FSSL_WEIGHTS, FSSL, FSSL_TIME)
SIZE_INCHES = (8.0, 5.0)
PLOTS: dict[str, tuple[str, Callable[[Record], float]]] = {
    "weights": ("weights stored", lambda record: float(record["weights"])),
    "time": ("ms of a forward pass, one thread", lambda record: 1e3 * record["seconds"]["1"]),
}


def save_plots(report: Report, folder: Path) -> None:
    """Draw `fssl-weights.png` and `fssl-time.png`, if section `pareto` was measured."""
    if measured := report.measured(NAME):
        means = by_method_and_goal(measured)
        for name, (label, value) in PLOTS.items():
            path = folder / f"{report.name}-{name}.png"
            report.save_figure(_pareto(means, label, value), path)


def _pareto(means: list[Record], label: str, value: Callable[[Record], float]) -> Any:
    """Means over the seeds with their standard deviation, both axes logarithmic."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    panel = figure.subplots()
    for index, (method, known) in enumerate(METHODS.items()):
        points = sorted((r for r in means if r["method"] == method), key=value)
        if not points:
            continue
        ours = method in OURS
        panel.errorbar(
            [value(point) for point in points],
            [100.0 * point["error"]["mean"] for point in points],
            [100.0 * point["error"]["deviation"] for point in points],
            label=known.label,
            color=colormaps["tab20"](index),
            linewidth=2.0 if ours else 1.0,
            linestyle="-" if ours else "--",
            marker="o" if ours else "s",
            markersize=4,
            capsize=2,
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    panel.set_xlabel(label, fontsize=8)
    panel.set_ylabel("test error after the last epoch, %", fontsize=8)
    panel.tick_params(which="both", labelsize=7)
    panel.tick_params(which="both", axis="x", rotation=45)
    panel.grid(alpha=0.3, which="both")
    panel.legend(fontsize=7)
    return figure
