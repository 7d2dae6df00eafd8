"""What is written down after every epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """One line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        phase: of the method.
        loss: mean over the training images, each before its step.
        train_accuracy: of the same scores, as a part.
        test_accuracy: of the network after the epoch.
        zeros: part of the start network's weights that are no longer there or 0.
        nonzeros: weights left.
        units: left, inputs first, then layer by layer; outputs not counted.
        predicted_seconds: of one batch, by the time model.
        predicted_time: the same as a part of the start network's.
        lr: of the last step.
        penalty: strength of FSSL's penalty; 0 without.
        seconds: that the epoch took, test included.
    """

    epoch: int
    phase: str
    loss: float
    train_accuracy: float
    test_accuracy: float
    zeros: float
    nonzeros: int
    units: list[int]
    predicted_seconds: float
    predicted_time: float
    lr: float
    penalty: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)
