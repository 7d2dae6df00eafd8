"""A training as one picture: loss and size over the epochs, and the shape it ended with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.errors import MissingExtraError
from espalier.files.atomic import replacing_file

if TYPE_CHECKING:
    from espalier.training import EpochMetrics, TrainingResult

SHADES = ("0.97", "0.92")


def save_picture(result: TrainingResult, path: Path) -> None:
    """Write the picture of a training as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.6), layout="constrained")
    loss, size, shape = figure.subplots(1, 3)
    _draw_loss(loss, result.history)
    _draw_size(size, result)
    _draw_shape(shape, result)
    figure.suptitle(f"{result.settings.method} on {result.settings.data}", fontsize=9)
    save_figure(figure, path)


def _draw_loss(panel: Any, history: Sequence[EpochMetrics]) -> None:
    _draw_phases(panel, history)
    epochs = [metrics.epoch for metrics in history]
    panel.plot(epochs, [r.loss for r in history], color="tab:blue", label="training loss")
    errors = [1.0 - metrics.test_accuracy for metrics in history]
    panel.plot(epochs, errors, color="tab:red", label="test error")
    panel.set_yscale("log")
    panel.set_xlabel("epoch", fontsize=8)
    panel.set_ylabel("loss; part of the images that are wrong", fontsize=8)
    _finish(panel)


def _draw_size(panel: Any, result: TrainingResult) -> None:
    history = result.history
    _draw_phases(panel, history)
    full = sum(result.dense.units)
    curves: dict[str, tuple[str, Callable[[EpochMetrics], float]]] = {
        "time, predicted": ("tab:green", lambda r: r.predicted_time),
        "weights": ("tab:blue", lambda r: 1.0 - r.zeros),
        "units": ("tab:orange", lambda r: sum(r.units) / full),
    }
    for label, (colour, value) in curves.items():
        panel.plot([r.epoch for r in history], list(map(value, history)), color=colour, label=label)
    target = result.settings.target
    if target is not None:
        left = 1.0 - target.value if target.measure == "zeros" else target.value
        panel.axhline(left, color="black", linestyle=":", linewidth=1, label="target")
    panel.set_ylim(0.0, 1.05 * max(1.0, *(metrics.predicted_time for metrics in history)))
    panel.set_xlabel("epoch", fontsize=8)
    panel.set_ylabel("part of the dense network", fontsize=8)
    _finish(panel)


def _draw_shape(panel: Any, result: TrainingResult) -> None:
    before, after = result.dense.units, result.compact.units
    places = range(len(before))
    panel.bar(places, before, color="0.85", label="dense")
    panel.bar(places, after, color="tab:green", label="compact")
    for place, left in zip(places, after, strict=True):
        panel.annotate(str(left), (place, left), ha="center", va="bottom", fontsize=8)
    names = ["inputs", *(f"layer {place}" for place in places if place)]
    panel.set_xticks(list(places), names)
    panel.set_ylabel("units", fontsize=8)
    _finish(panel)


def _draw_phases(panel: Any, history: Sequence[EpochMetrics]) -> None:
    """A background for each phase, its name on top."""
    for index, (name, phase) in enumerate(groupby(history, key=lambda metrics: metrics.phase)):
        epochs = [metrics.epoch for metrics in phase]
        first, last = epochs[0] - 0.5, epochs[-1] + 0.5
        panel.axvspan(first, last, color=SHADES[index % 2], linewidth=0)
        place = panel.get_xaxis_transform()  # epochs across, parts of the height upwards
        panel.text((first + last) / 2, 1.02, name, ha="center", fontsize=7, transform=place)


def _finish(panel: Any) -> None:
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7)


def require_matplotlib() -> None:
    """Raise MissingExtraError before anything is measured whose plot could not be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "the plot") from None


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG; what is there stays until the new one is whole."""
    with replacing_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
