"""The report as a picture: one panel for each section that was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.report import Answer, Report
from benchmarks.harness.section import Record

ROW_INCHES = 0.3
WIDTH_INCHES = 9.0
Bars = list[tuple[str, float, str]]  # label, length, colour

OURS, OTHERS, CONTEXT = "tab:green", "tab:blue", "tab:gray"


def save_plot(report: Report, folder: Path) -> None:
    """Draw every section's bars into `challenge.png`."""
    from matplotlib.figure import Figure

    panels = [(answer, bars) for answer in report.answers if (bars := _bars(answer))]
    heights = [len(bars) + 3 for _, bars in panels] or [1]
    figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * sum(heights) + 1.0), layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (answer, bars) in zip(axes, panels, strict=False):
        _draw(axis, answer.section.name, bars)
    report.save_figure(figure, folder / f"{report.name}.png")


def _bars(answer: Answer) -> Bars:
    return [bar for record in answer.measured for bar in PANELS[answer.section.name][1](record)]


def _draw(axis: Any, name: str, bars: Bars) -> None:
    labels, lengths, colours = zip(*bars, strict=True)
    places = range(len(bars))
    axis.barh(places, lengths, color=colours)
    axis.set_yticks(places, labels, fontsize=7)
    axis.invert_yaxis()
    unit = PANELS[name][0]
    if unit == "seconds":
        axis.set_xscale("log")
    axis.set_xlabel(unit, fontsize=8)
    axis.set_title(name, fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)


def _shortcuts(record: Record) -> Bars:
    network = record["network"]
    bars: Bars = [(f"{network}, espalier", record["seconds"]["median"], OURS)]
    for name in ("best_gpu", "best_cpu"):
        if record[name] is not None:
            bars.append((f"{network}, {record[name]}", record[f"{name}_seconds"], CONTEXT))
    return bars


def _strategies(record: Record) -> Bars:
    label = f"{record['network']}, {record['strategy']}"
    bars: Bars = [(f"{label}, this machine", record["seconds"]["median"], OURS)]
    for device, seconds in record["published_seconds"].items():
        if seconds is not None:
            bars.append((f"{label}, {device}", seconds, CONTEXT))
    return bars


def _peers(record: Record) -> Bars:
    label = f"{record['network']}, {record['name']}"
    return [(label, record["seconds"]["median"], OTHERS if record["peer"] else OURS)]


def _structureless(record: Record) -> Bars:
    label = f"{record['network']}, {record['name']}"
    colour = OTHERS if record["peer"] else OURS
    return [(label, record["multiply_adds_per_second"] / 1e9, colour)]


def _ceiling(record: Record) -> Bars:
    label = f"{record['network']}, {record['threads']} threads"
    return [(label, 100.0 * record["share_of_peak"]["median"], OURS)]


PANELS: dict[str, tuple[str, Callable[[Record], Bars]]] = {
    "shortcuts": ("seconds", _shortcuts),
    "strategies": ("seconds", _strategies),
    "peers": ("seconds", _peers),
    "structureless": ("billion multiply-adds per second", _structureless),
    "ceiling": ("percent of the multiply-add ceiling", _ceiling),
}
