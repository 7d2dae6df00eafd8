"""The overhead of a network, between its layers: activations, pooling, norms, the calls themselves.

Timed in the model itself, between the end of one layer and the start of the next, so that nothing
has to be known about it. A batch of one gives the part that no width changes; the rest is
proportional to the batch and to the units of the layer before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espalier.fssl.groups.groups import LayerUse
from espalier.fssl.groups.modules import evaluating
from espalier.nn.torch_tools import DOES_NOT_FIT
from espalier.timing.interleave import fastest_agree, interleave

# Runs, at least and at most, until the two fastest agree.
_ROUNDS, _ROUNDS_OF_ONE = (6, 24), (40, 40)
_STEADY = 1.03


class LayerOverhead(NamedTuple):
    """Seconds from the end of a layer to the start of the next, or to the end of the model."""

    fixed: float
    by_units: float  # at full width


@dataclass(frozen=True)
class Overhead:
    """The overhead of a model.

    Attributes:
        before: seconds before the first layer.
        behind: the overhead behind each layer, in order.
        whole: seconds of the whole model at full width, layers and all.
        steady: whether the machine was steady enough to believe it tomorrow.
    """

    before: float
    behind: tuple[LayerOverhead, ...]
    whole: float
    steady: bool = True

    def seconds(self, layer: int, share: float) -> float:
        """Behind a layer of which this share of the units is alive."""
        fixed, by_units = self.behind[layer]
        return fixed + share * by_units


def measure_overhead(
    model: nn.Module,
    layers: Sequence[LayerUse],
    batch: int,
    example: Tensor | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Overhead | None:
    """Run a model at full width and time its overhead; None if it does not run on such an input.

    Arguments:
        model: put into evaluation mode for the moment.
        layers: its layers, in order of execution, each called once.
        batch: samples of a batch.
        example: inputs, as different from each other as real ones: pooling takes longer when its
            branches cannot be foretold. Without them, random numbers of the first layer's shape.
        clock: gives seconds.
    """
    x = _input(layers[0], batch) if example is None else _repeated(example, batch)
    timer = _LayerClock(model, layers, clock)
    try:
        with evaluating(model):
            _, alone = timer.time(x[:1], _ROUNDS_OF_ONE)
            whole, full = timer.time(x, _ROUNDS)
    except DOES_NOT_FIT:
        return None
    if len(full) != len(layers) + 1:  # one is called twice, or not at all
        return None
    growth = batch / max(batch - 1, 1)
    by_units = [max(f - a, 0.0) * growth for f, a in zip(full, alone, strict=True)]
    fixed = [max(f - b, 0.0) for f, b in zip(full, by_units, strict=True)]
    behind = tuple(map(LayerOverhead, fixed[1:], by_units[1:]))
    return Overhead(full[0], behind, min(whole), fastest_agree(whole, _STEADY))


def _input(layer: LayerUse, batch: int) -> Tensor:
    size = layer.size if layer.kind == "conv" else ()
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, layer.in_width * layer.repeat, *size, generator=generator)


def _repeated(example: Tensor, batch: int) -> Tensor:
    """A batch of the examples, again and again."""
    return example[torch.arange(batch) % len(example)]


class _LayerClock:
    """Runs a model and records when its layers start and end."""

    def __init__(
        self, model: nn.Module, layers: Sequence[LayerUse], clock: Callable[[], float]
    ) -> None:
        self._model, self._now = model, clock
        self._layers = [model.get_submodule(layer.name) for layer in layers]

    def time(self, x: Tensor, rounds: tuple[int, int]) -> tuple[list[float], list[float]]:
        """Seconds of whole runs, and the least of each gap from the start to the end of one.

        Recording the time takes time: each gap is shortened by its share of what that costs.
        """
        least, most = rounds

        def measure() -> tuple[float, list[float]]:
            start = self._now()
            self._model(x)
            return self._now() - start, self._timestamps(x)

        def is_done(_: str, runs: list[tuple[float, list[float]]]) -> bool:
            whole = [seconds for seconds, _ in runs]
            return len(whole) >= least and fastest_agree(whole, _STEADY)

        runs = interleave({"model": measure}, most, is_done=is_done)["model"]
        whole, recorded = map(list, zip(*runs, strict=True))
        cost = min(stamps[-1] - stamps[0] for stamps in recorded) - min(whole)
        cost = max(cost, 0.0) / (len(recorded[0]) // 2)
        gaps = zip(*([b - a for a, b in _pairs(stamps)] for stamps in recorded), strict=True)
        return whole, [max(min(gap) - cost, 0.0) for gap in gaps]

    def _timestamps(self, x: Tensor) -> list[float]:
        timestamps: list[float] = []

        def record(*_: Any) -> None:
            timestamps.append(self._now())

        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.callback(layer.register_forward_pre_hook(record).remove)
                hooks.callback(layer.register_forward_hook(record).remove)
            record()
            self._model(x)
            record()
        return timestamps


def _pairs(timestamps: list[float]) -> list[tuple[float, float]]:
    return list(zip(timestamps[::2], timestamps[1::2], strict=True))
