"""What a network does between its layers: activations, pooling, norms, the calls themselves.

Timed in the model itself, between the end of one layer and the start of the next, so that nothing
has to be known about it. A batch of one tells the part that no width changes; the rest is
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

from espalier.fssl.groups import LayerUse

_ROUNDS, _ROUNDS_OF_ONE = 7, 50


class Gap(NamedTuple):
    """Seconds from the end of a layer to the start of the next, or to the end of the model."""

    fixed: float
    by_units: float  # at full width


@dataclass(frozen=True)
class Between:
    """The gaps of a model.

    Attributes:
        front: seconds before the first layer.
        gaps: behind each layer, in order.
        whole: seconds of the whole model at full width, layers and all.
    """

    front: float
    gaps: tuple[Gap, ...]
    whole: float

    def seconds(self, layer: int, share: float) -> float:
        """Behind a layer of which this share of the units is alive."""
        fixed, by_units = self.gaps[layer]
        return fixed + share * by_units


def time_between(
    model: nn.Module, layers: Sequence[LayerUse], batch: int, example: Tensor | None = None
) -> Between | None:
    """Run a model at full width and time its gaps; None if it does not run on such an input.

    Arguments:
        model: put into evaluation mode for the moment.
        layers: its layers, in order of execution.
        batch: samples of a batch.
        example: any batch of inputs; without it, the input of the first layer is the model's.
    """
    one = _input(layers[0]) if example is None else example[:1].float()
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            alone = _Clock(model, layers, one).gaps(_ROUNDS_OF_ONE)
            many = one.expand(batch, *one.shape[1:]).contiguous()
            clock = _Clock(model, layers, many)
            full, whole = clock.gaps(_ROUNDS), _least(clock.run, _ROUNDS)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    finally:
        for module in training:
            module.training = True
    if len(full) != len(layers) + 1 or len(alone) != len(full):
        return None
    growth = batch / max(batch - 1, 1)
    by_units = [max(f - a, 0.0) * growth for f, a in zip(full, alone, strict=True)]
    fixed = [max(f - b, 0.0) for f, b in zip(full, by_units, strict=True)]
    gaps = tuple(Gap(f, b) for f, b in zip(fixed[1:], by_units[1:], strict=True))
    return Between(full[0], gaps, whole)


def _input(layer: LayerUse) -> Tensor:
    size = layer.size if layer.kind == "conv" else ()
    return torch.rand(1, layer.in_width * layer.repeat, *size)


def _least(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


class _Clock:
    """Runs a model and notes when its layers start and end."""

    def __init__(self, model: nn.Module, layers: Sequence[LayerUse], x: Tensor) -> None:
        self._model, self._x = model, x
        self._layers = [model.get_submodule(layer.name) for layer in layers]

    def run(self) -> object:
        return self._model(self._x)

    def gaps(self, rounds: int) -> list[float]:
        """The least seconds of each gap, from the start of the model to its end.

        Noting the time takes time: each gap is shortened by its share of what that costs.
        """
        bare = _least(self.run, rounds)
        found = [self._marks() for _ in range(rounds)]
        noted = min(marks[-1] - marks[0] for marks in found)
        cost = max(noted - bare, 0.0) / (len(found[0]) // 2)
        gaps = [[after - before for before, after in _pairs(marks)] for marks in found]
        return [max(min(each) - cost, 0.0) for each in zip(*gaps, strict=True)]

    def _marks(self) -> list[float]:
        marks: list[float] = []

        def mark(*_: Any) -> None:
            marks.append(perf_counter())

        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.callback(layer.register_forward_pre_hook(mark).remove)
                hooks.callback(layer.register_forward_hook(mark).remove)
            mark()
            self.run()
            mark()
        return marks


def _pairs(marks: list[float]) -> list[tuple[float, float]]:
    return list(zip(marks[::2], marks[1::2], strict=True))
