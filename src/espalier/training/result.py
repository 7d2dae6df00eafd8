"""The result of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from espalier.training.method_training import EpochMetrics
from espalier.training.settings import Settings

MOST_LOST = 0.05  # part of the test images that may be lost without a warning


@dataclass(frozen=True)
class NetworkSize:
    """One row of the final table: the dense network a training begins with, or what is left.

    Attributes:
        name: ``"dense"`` or ``"compact"``.
        error: part of the test images it gets wrong; None where it was not trained.
        zeros: part of the start network's weights that are not in it.
        weights: stored, biases not counted.
        bytes: of all parameters, buffers and sparse indices.
        multiply_adds: of one image.
        units: inputs first, then layer by layer; outputs not counted.
        predicted_seconds: of one batch, by the time model; no seconds, but in proportion, where
            that goes by multiply-adds.
        measured_seconds: of one batch, the median of timings interleaved with the other network's.
    """

    name: str
    error: float | None
    zeros: float
    weights: int
    bytes: int
    multiply_adds: int
    units: list[int]
    predicted_seconds: float
    measured_seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes:
        settings: of the training.
        model: compact, in evaluation mode.
        dense: the network it began with.
        compact: the network it ended with.
        reached: value of the target's measure at the end; None without a target.
        history: the metrics of each epoch.
        batch: images of the timings.
        path: of the saved model; None where nothing was saved.
    """

    settings: Settings
    model: nn.Module
    dense: NetworkSize
    compact: NetworkSize
    reached: float | None
    history: Sequence[EpochMetrics]
    batch: int
    path: Path | None = None

    @property
    def target_met(self) -> bool:
        """Whether the network is as small as was asked for; True without a target."""
        target = self.settings.target
        return target is None or self.reached is None or target.met_by(self.reached)

    def verdict(self) -> str:
        """One sentence on the target.

        >>> from types import SimpleNamespace
        >>> missed = SimpleNamespace(settings=Settings(), reached=0.412, target_met=False)
        >>> TrainingResult.verdict(missed)
        'FAILED: time is 0.412 of the dense network, wanted at most 0.3'
        """
        target = self.settings.target
        if target is None or self.reached is None:
            return "no target"
        outcome = "PASSED" if self.target_met else "FAILED"
        whole, bound = "of the dense network", "at most"
        if target.measure == "zeros":
            whole, bound = "of the weights", "at least"
        verb = "is" if target.measure == "time" else "are"
        return (
            f"{outcome}: {target.measure} {verb} {self.reached:.3g} {whole}, wanted {bound} "
            f"{target.value:g}"
        )

    def warning(self) -> str | None:
        """One sentence where much of what the dense network knew is lost; None where not."""
        if self.compact.weights == 0:
            return (
                "no weight is left: the network gives the same answer to every image; give a "
                "milder target"
            )
        dense, compact = self.dense.error, self.compact.error
        if dense is None or compact is None or compact <= dense + MOST_LOST:
            return None
        return (
            f"the compact network errs on {compact:.1%} of the test images, the dense one on "
            f"{dense:.1%}; give more epochs or a milder target"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the network itself, as plain values."""
        target = self.settings.target
        return {
            "settings": self.settings.to_json(),
            "networks": [asdict(self.dense), asdict(self.compact)],
            "target": None if target is None else target._asdict(),
            "reached": self.reached,
            "target_met": self.target_met,
            "warning": self.warning(),
            "batch": self.batch,
            "epochs": [metrics.to_json() for metrics in self.history],
            "model": None if self.path is None else str(self.path),
        }
