"""What to measure: networks, layers, zeros, rounds, threads, and on which images to train."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.sparsetrain.published import NETWORKS
from espalier.errors import InputError
from espalier.timing.interleave import ROUNDS

ZEROS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SMALL_MODEL = "vgg_small"
MODELS = (SMALL_MODEL, "vgg16", "resnet34", "resnet50", "fixup_resnet50")


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark run.

    Arguments:
        networks: published networks, names out of `NETWORKS`.
        layers: measure layers whose name contains one of these, such as ``1x1`` or ``@14``; with
            none, all layers of the networks and the linear ones.
        zeros: fractions of random zeros to measure layers at, rising.
        dense_seconds: a call of the dense kernel takes about so long at most.
        most_images: images of a call, if they fit into that time.
        rounds: timed rounds of each candidate.
        threads: threads of every candidate.
        mnist: folder of MNIST's IDX files to train on; None takes scikit-learn's digits.
        batches: images of a training step of the small VGG.
        large_batch: the same of the other networks.
        train_steps: steps of training before activations are captured.
        models: networks whose training steps are timed.
    """

    networks: tuple[str, ...] = tuple(NETWORKS)
    layers: tuple[str, ...] = ()
    zeros: tuple[float, ...] = ZEROS
    dense_seconds: float = 0.04
    most_images: int = 16
    rounds: int = ROUNDS
    threads: int = 1
    mnist: str | None = None
    batches: tuple[int, ...] = (64, 128)
    large_batch: int = 8
    train_steps: int = 100
    models: tuple[str, ...] = (SMALL_MODEL,)

    def __post_init__(self) -> None:
        for word, given, known in (
            ("network", self.networks, tuple(NETWORKS)),
            ("model", self.models, MODELS),
        ):
            for name in given:
                if name not in known:
                    raise InputError(f"{word} is {name!r}, wanted one of {', '.join(known)}")

    def quick(self) -> Settings:
        """A few layers, rounds and steps of these settings: about a minute."""
        return replace(
            self,
            networks=self.networks[:1],
            layers=self.layers or ("3x3 128>128 @28", "1x1 256>64 @56", "linear 512>512"),
            zeros=(0.0, 0.5, 0.8, 0.9),
            rounds=3,
            batches=self.batches[:1],
            train_steps=10,
        )

    def public(self) -> dict[str, Any]:
        """The settings as JSON values, the folder by its name alone."""
        return asdict(self) | {"mnist": None if self.mnist is None else Path(self.mnist).name}
