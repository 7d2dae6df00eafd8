"""A picture of a partition: words layer by layer, beside random rows and blocks."""

from __future__ import annotations

from pathlib import Path

from espalier.errors import MissingExtraError
from espalier.files.atomic import replacing_file
from espalier.partitioning.report import PartitionReport

COLORS = {"random": "#9a9a9a", "block": "#c98f2b", "hash": "#7a6fae"}
OWN = "#1f6f54"


def plot_report(report: PartitionReport, path: Path) -> None:
    """Save a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FileError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "a plot") from error
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, layers in report.layers.items():
        words = [each.words for each in layers]
        mean = sum(words) / max(len(words), 1)
        color = OWN if name == report.method else COLORS.get(name, "#555555")
        axes.plot(range(len(words)), words, color=color, label=f"{name}: {mean:,.0f} a layer")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("words sent, one sample forward")
    axes.set_title(f"{report.parts} parts")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing_file(path) as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
