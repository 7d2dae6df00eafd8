"""The report as pictures: speed-up against zeros, and the networks beside the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.report import Report
from benchmarks.harness.section import Record
from benchmarks.sparsetrain.shapes import PASSES

COLOURS = {"input": "tab:blue", "needed": "tab:orange", "gradient": "tab:green"}
PANEL_INCHES = 3.6
MOST_SPEEDUP = 10.0


def save_plots(report: Report, folder: Path) -> None:
    """Draw `sparsetrain-layers.png` and `sparsetrain-networks.png`, if they were measured."""
    for name, draw in (("layers", _layers), ("networks", _networks)):
        if records := report.measured(name):
            report.save_figure(draw(records), folder / f"{report.name}-{name}.png")


def _layers(records: list[Record]) -> Any:
    """A panel for each kind of layer and pass, a line for each layer."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(record["kind"] for record in records))
    size = (PANEL_INCHES * len(PASSES), PANEL_INCHES * len(kinds) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(kinds), len(PASSES), sharex=True, sharey=True, squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        for panel, name in zip(row, PASSES, strict=True):
            chosen = [r for r in records if (r["kind"], r["pass"]) == (kind, name)]
            _draw_lines(panel, chosen)
            panel.set_title(f"{kind}, {name}", fontsize=9, loc="left")
    for panel in panels[-1]:
        panel.set_xlabel("part of zeros", fontsize=8)
    for panel in panels[:, 0]:
        panel.set_ylabel("speed-up over dense", fontsize=8)
    return figure


def _draw_lines(panel: Any, records: list[Record]) -> None:
    labelled = set()
    for record in records:
        zeros = [level["zeros"] for level in record["levels"]]
        speedups = [level["speedup"]["median"] for level in record["levels"]]
        variant = record["variant"]
        label = None if variant in labelled else variant
        labelled.add(variant)
        panel.plot(zeros, speedups, color=COLOURS[variant], alpha=0.5, linewidth=1, label=label)
        if record["break_even"] is not None:
            panel.plot(record["break_even"], 1.0, "o", color=COLOURS[variant], markersize=3)
    fractions = [index / 100 for index in range(96)]
    ideal = [1.0 / (1.0 - fraction) for fraction in fractions]
    panel.plot(fractions, ideal, color="black", linestyle=":", linewidth=1, label="1 / (1 - zeros)")
    panel.axhline(1.0, color="tab:gray", linewidth=0.8)
    panel.set_ylim(0.0, MOST_SPEEDUP)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7, loc="upper left")


def _networks(records: list[Record]) -> Any:
    """Bars of every network: measured, the paper's, the bounds."""
    from matplotlib.figure import Figure

    bars: dict[str, tuple[str, Callable[[Record], float]]] = {
        "this machine": ("tab:green", lambda r: r["all"]["speedup"]),
        "paper": ("tab:blue", lambda r: r["published_speedup"]),
        "bound": ("tab:gray", lambda r: r["bound"]),
        "bound, needed only": ("tab:olive", lambda r: r["bound_with_needed"]),
    }
    figure = Figure(figsize=(2.2 * len(records) + 2, PANEL_INCHES), layout="constrained")
    panel = figure.subplots()
    width = 0.8 / len(bars)
    for index, (label, (colour, value)) in enumerate(bars.items()):
        places = [position + index * width for position in range(len(records))]
        panel.bar(places, [value(r) for r in records], width, color=colour, label=label)
    centre = width * (len(bars) - 1) / 2
    panel.set_xticks(
        [position + centre for position in range(len(records))],
        [record["network"] for record in records],
        fontsize=8,
    )
    panel.axhline(1.0, color="black", linewidth=0.8)
    panel.set_ylabel("speed-up of the convolutions", fontsize=8)
    panel.legend(fontsize=7)
    return figure
