"""One training of one method with one target and one seed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from benchmarks.fssl.methods import DENSE, MAGNITUDE, METHODS, MIX, RIGL, Target
from espalier.files.container import checksum
from espalier.training import Settings as Training
from espalier.training.settings import Method as TrainingMethod
from espalier.training.settings import TimeSource

FORMAT = 2  # rises when the same settings come to train another network
METHOD_OF: dict[str, TrainingMethod] = {DENSE: "dense", MAGNITUDE: "magnitude", RIGL: "rigl"}


@dataclass(frozen=True)
class Trial:
    """What to train.

    Arguments:
        method: a name out of `METHODS`.
        target: None for a method without one.
        seed: of weights and order.
        model: a word of `espalier.nn.networks.build`.
        data: ``"digits"`` or a folder of IDX files.
        epochs: of all phases together.
        threads: of the training, and of the times that shape the network.
        batch: images of the batch whose time counts.
        time: where times come from.
    """

    method: str
    target: Target | None
    seed: int
    model: str
    data: str
    epochs: int
    threads: int
    batch: int
    time: TimeSource

    @property
    def label(self) -> str:
        """The trial in a progress bar."""
        target = "" if self.target is None else f", {self.target.label}"
        return f"{self.model}: {METHODS[self.method].label}{target}, seed {self.seed}"

    def training(self) -> Training:
        """The settings of the training: its own where nothing here says otherwise."""
        target = self.target
        by_units = target is not None and target.measure in ("time", "weights")
        return Training(
            data=self.data,
            model=self.model,
            method=METHOD_OF.get(self.method, "fssl"),
            target_time=target.value if target is not None and by_units else None,
            target_zeros=target.value if target is not None and target.measure == "zeros" else None,
            epochs=self.epochs,
            seed=self.seed,
            threads=self.threads,
            mix=MIX.get(self.method, Training.mix),
            # Of a perceptron's weights each is one multiply-add.
            time="macs" if target is not None and target.measure == "weights" else self.time,
        )

    def key(self, fingerprint: str) -> dict[str, Any]:
        """All that decides the result, as JSON values; the data by its fingerprint."""
        return {
            "format": FORMAT,
            "espalier": version("espalier"),
            "method": self.method,
            "goal": None if self.target is None else list(self.target),
            "seed": self.seed,
            "data": fingerprint,
            "batch": self.batch,
            "settings": {**self.training().to_json(), "data": None},
        }


def digest(key: dict[str, Any]) -> str:
    """A short name for a key."""
    return checksum(key)[:16]
