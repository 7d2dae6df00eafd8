"""What to measure: networks, layers, zeros, rounds, threads, and on which images to train."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from benchmarks.harness.section import Mnist, Rounds, Threads
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
        zeros: fractions of random zeros to measure layers at, rising.
        dense_seconds: a call of the dense kernel takes about so long at most.
        most_images: images of a call, if they fit into that time.
        large_batch: the same of the other networks.
        models: networks whose training steps are timed.
    """

    networks: Annotated[
        tuple[str, ...],
        Option(
            "--network",
            help="VGG16, ResNet-34, ResNet-50 or 'Fixup ResNet-50'; repeat. By default all four.",
        ),
    ] = tuple(NETWORKS)
    layers: Annotated[
        tuple[str, ...],
        Option(
            "--layer", help="Measure layers with this in their name, such as 1x1 or @14; repeat."
        ),
    ] = ()
    zeros: tuple[float, ...] = ZEROS
    dense_seconds: float = 0.04
    most_images: int = 16
    rounds: Rounds = ROUNDS
    threads: Threads = 1
    mnist: Mnist = None
    batches: Annotated[
        tuple[int, ...],
        Option("--batch", min=1, help="Images of a training step; repeat. By default 64 and 128."),
    ] = (64, 128)
    large_batch: int = 8
    train_steps: Annotated[
        int, Option(min=1, help="Steps of training before zeros are captured.")
    ] = 100
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
