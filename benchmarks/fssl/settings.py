"""What to measure: network, seeds, epochs, methods and targets, threads, and which images."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from benchmarks.fssl.methods import METHODS
from benchmarks.harness.section import Mnist, Rounds
from espalier.errors import InputError
from espalier.timing.interleave import ROUNDS

LENET_300_100, LENET_5 = "mlp:300-100", "lenet5"
PREDICTED = (LENET_300_100, LENET_5, "vgg-small")


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark run.

    Arguments:
        strengths: of the penalty of SSL, which follows no target.
        lenet5_times: targets for LeNet-5, as ``times``.
        batch: images of a forward pass that is timed or predicted.
        time: where the times come from that shape networks, as for `espalier.training.Settings`.
        runs: folder for the results of single trainings, from which a later benchmark goes on.
        step_sizes, step_densities, step_batch: layers of section `step`.
        predicted: networks of section `time`.
        predicted_batch: images of a batch there.

    Raises:
        InputError: a method or a number that no benchmark can have.
    """

    model: Annotated[str, Option(help="Network of section pareto.")] = LENET_300_100
    mnist: Mnist = None
    seeds: Annotated[int, Option(min=1, help="Trainings of everything.")] = 5
    epochs: Annotated[int, Option(min=1, help="Of every training, all phases together.")] = 40
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--method",
            help="dense, width, scratch, random, norm, ssl, magnitude, rigl, fssl-weights, fssl or "
            "fssl-time; repeat. By default all.",
        ),
    ] = tuple(METHODS)
    times: Annotated[
        tuple[float, ...],
        Option("--target-time", help="Part of the dense time to reach by removing units; repeat."),
    ] = (0.3, 0.13, 0.07)
    zeros: Annotated[
        tuple[float, ...],
        Option("--target-zeros", help="Part of the weights to zero one by one; repeat."),
    ] = (0.9, 0.95, 0.98)
    strengths: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    lenet5_times: tuple[float, ...] = (0.19, 0.17)
    lenet5_epochs: Annotated[
        int | None, Option(min=1, help="Of the trainings of LeNet-5; --epochs by default.")
    ] = None
    threads: Annotated[
        int, Option(min=1, help="Threads of trainings; all by default. Times are of one and two.")
    ] = 1
    rounds: Rounds = ROUNDS
    batch: int = 1024
    time: Literal["measured", "macs"] = "measured"
    runs: str | None = None
    step_sizes: tuple[int, ...] = (1024, 4096)
    step_densities: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
    step_batch: int = 128
    predicted: tuple[str, ...] = PREDICTED
    predicted_batch: int = 256

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise InputError(f"method is {name!r}, wanted one of {', '.join(METHODS)}")
        for name in ("seeds", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, wanted at least 1")
        for name in ("times", "zeros", "lenet5_times"):
            for value in getattr(self, name):
                if not 0.0 < value < 1.0:
                    raise InputError(f"{name} holds {value}, wanted parts between 0 and 1")

    @property
    def forward_threads(self) -> tuple[int, ...]:
        """Numbers of threads of forward passes and steps: one and two, as far as there are."""
        return tuple(range(1, min(2, len(os.sched_getaffinity(0))) + 1))

    def quick(self) -> Settings:
        """Few seeds, epochs, targets and rounds of these settings: a minute or two on digits."""
        return replace(
            self,
            seeds=1,
            epochs=min(self.epochs, 6),
            times=self.times[1:2],
            zeros=self.zeros[:1],
            strengths=self.strengths[1:2],
            lenet5_times=(),
            rounds=3,
            step_sizes=(256,),
            step_densities=(0.3, 0.1),
            predicted=self.predicted[:1],
        )

    def public(self) -> dict[str, Any]:
        """The settings as JSON values, the folder of images by its name alone."""
        mnist = None if self.mnist is None else Path(self.mnist).name
        return {**asdict(self), "mnist": mnist, "runs": None}
