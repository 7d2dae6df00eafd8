"""The picture of the report: words a layer against the number of parts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.report import Report
from benchmarks.harness.section import Record
from espalier.cli.picture import require_matplotlib

COLORS = {"hypergraph": "#1f6f54", "random": "#9a9a9a", "hash": "#7a6fae", "block": "#c98f2b"}


def save_plots(report: Report, folder: Path) -> None:
    """Draw section `volume` into ``partition.png``; nothing without it."""
    records = [
        record
        for answer in report.answers
        if answer.section.name == "volume"
        for record in answer.records
        if "skipped" not in record
    ]
    if not records:
        return
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(record["network"] for record in records))
    figure = Figure(figsize=(4.2 * len(networks), 3.6), layout="constrained")
    for axes, network in zip(
        figure.subplots(1, len(networks), squeeze=False)[0], networks, strict=True
    ):
        axes.set_title(network)
        for method, color in COLORS.items():
            line = [r for r in records if (r["network"], r["name"]) == (network, method)]
            axes.plot(
                [r["parts"] for r in line],
                [_words(r) for r in line],
                "o-",
                color=color,
                label=method,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("parts")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("words sent a layer")
    figure.axes[0].legend(frameon=False)
    FigureCanvasAgg(figure).print_png(folder / "partition.png")  # type: ignore[no-untyped-call]


def _words(record: Record) -> float:
    return float(max(record["words"] / record["layers"], 0.5))
