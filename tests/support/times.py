"""Pretended timings of layers: seconds by a formula, and what was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from espalier import fssl
from espalier.fssl.latency import measure as time_measure
from espalier.fssl.latency.measure import GATHER, Task
from espalier.fssl.latency.overhead import LayerOverhead, Overhead
from espalier.fssl.latency.probes import CSR, DENSE, Point


class PretendedMachine:
    """Takes the place of timing.

    Attributes:
        asked: keys of what was measured, in order.
        steady: whether what it measures may be kept.
        runs: whether the model can be run as a whole.
        busy: how many times too long that takes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.steady = True
        self.runs = True
        self.busy = 1.0
        self.seconds: Callable[[Task, Point], float] = bilinear
        monkeypatch.setattr(time_measure, "time_points", self._time_points)
        monkeypatch.setattr(time_measure, "measure_overhead", self._measure_overhead)

    def _time_points(self, groups, batch, threads, tasks, progress=None):
        self.asked += [task.key for task in tasks]
        if progress is not None:
            progress(1, 1)
        seconds = [self.seconds(task, point) for task in tasks for point in task.points.all]
        return seconds, [self.steady] * len(seconds)

    def _measure_overhead(self, model, layers, batch, example=None, clock=None):
        self.asked.append(f"overhead, after {len(self.asked)}")
        behind = tuple(LayerOverhead(1e-6, 2e-6) for _ in layers)
        whole = 1e-6 + sum(
            3e-6
            + self.seconds(Task("", layer, DENSE, None), Point(layer.in_width, layer.out_width))
            for layer in layers
        )
        return Overhead(1e-6, behind, self.busy * whole, self.steady) if self.runs else None


def bilinear(task: Task, point: Point) -> float:
    """A constant and a product; CSR pays below a density of a quarter."""
    layer = task.layer
    if task.backend == GATHER:
        return 1e-6 + 1e-8 * point.inputs
    weights = layer.weights(point.inputs, point.outputs)
    weights = 4 * point.nonzeros if task.backend == CSR else weights
    return 1e-5 + 1e-9 * layer.positions * weights


def mlp(inputs: int = 64, first: int = 40, second: int = 24, outputs: int = 10) -> nn.Module:
    """A small multi-layer perceptron."""
    return nn.Sequential(
        *(nn.Linear(inputs, first), nn.ReLU()),
        *(nn.Linear(first, second), nn.ReLU()),
        nn.Linear(second, outputs),
    )


def convnet(first: int = 6, second: int = 9) -> nn.Module:
    """Two convolutions, then a linear layer behind a flatten; images of 8 x 8."""
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3), nn.ReLU(), nn.Flatten()),
        nn.Linear(4 * second, 10),
    )


def groups_of(model: nn.Module, *shape: int) -> fssl.Groups:
    """The groups of a model that reads such samples."""
    return fssl.find_groups(model, torch.zeros(2, *shape))
