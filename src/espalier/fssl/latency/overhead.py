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

from espalier.fssl.groups.groups import LayerUse
from espalier.nn.torch_tools import DOES_NOT_FIT
from espalier.timing.interleave import fastest_agree, interleave

# Runs, at least and at most, until the two fastest agree.
_ROUNDS, _ROUNDS_OF_ONE = (6, 24), (40, 40)
_STEADY = 1.03


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
        steady: whether the machine was steady enough to believe it tomorrow.
    """

    front: float
    gaps: tuple[Gap, ...]
    whole: float
    steady: bool = True

    def seconds(self, layer: int, share: float) -> float:
        """Behind a layer of which this share of the units is alive."""
        fixed, by_units = self.gaps[layer]
        return fixed + share * by_units


def time_between(
    model: nn.Module,
    layers: Sequence[LayerUse],
    batch: int,
    example: Tensor | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Between | None:
    """Run a model at full width and time its gaps; None if it does not run on such an input.

    Arguments:
        model: put into evaluation mode for the moment.
        layers: its layers, in order of execution, each called once.
        batch: samples of a batch.
        example: inputs, as different from each other as real ones: pooling takes longer when its
            branches cannot be foretold. Without them, random numbers of the first layer's shape.
        clock: tells seconds.
    """
    x = _input(layers[0], batch) if example is None else _repeated(example, batch)
    watch = _Watch(model, layers, clock)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            _, alone = watch.time(x[:1], _ROUNDS_OF_ONE)
            whole, full = watch.time(x, _ROUNDS)
    except DOES_NOT_FIT:
        return None
    finally:
        for module in training:
            module.training = True
    if len(full) != len(layers) + 1:  # one is called twice, or not at all
        return None
    growth = batch / max(batch - 1, 1)
    by_units = [max(f - a, 0.0) * growth for f, a in zip(full, alone, strict=True)]
    fixed = [max(f - b, 0.0) for f, b in zip(full, by_units, strict=True)]
    gaps = tuple(map(Gap, fixed[1:], by_units[1:]))
    return Between(full[0], gaps, min(whole), fastest_agree(whole, _STEADY))


def _input(layer: LayerUse, batch: int) -> Tensor:
    size = layer.size if layer.kind == "conv" else ()
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, layer.in_width * layer.repeat, *size, generator=generator)


def _repeated(example: Tensor, batch: int) -> Tensor:
    """A batch of the examples, again and again."""
    return example[torch.arange(batch) % len(example)]


class _Watch:
    """Runs a model and notes when its layers start and end."""

    def __init__(
        self, model: nn.Module, layers: Sequence[LayerUse], clock: Callable[[], float]
    ) -> None:
        self._model, self._now = model, clock
        self._layers = [model.get_submodule(layer.name) for layer in layers]

    def time(self, x: Tensor, rounds: tuple[int, int]) -> tuple[list[float], list[float]]:
        """Seconds of whole runs, and the least of each gap from the start to the end of one.

        Noting the time takes time: each gap is shortened by its share of what that costs.
        """
        least, most = rounds

        def measure() -> tuple[float, list[float]]:
            start = self._now()
            self._model(x)
            return self._now() - start, self._marks(x)

        def is_done(_: str, runs: list[tuple[float, list[float]]]) -> bool:
            whole = [seconds for seconds, _ in runs]
            return len(whole) >= least and fastest_agree(whole, _STEADY)

        runs = interleave({"model": measure}, most, is_done=is_done)["model"]
        whole, noted = map(list, zip(*runs, strict=True))
        cost = min(marks[-1] - marks[0] for marks in noted) - min(whole)
        cost = max(cost, 0.0) / (len(noted[0]) // 2)
        gaps = zip(*([b - a for a, b in _pairs(marks)] for marks in noted), strict=True)
        return whole, [max(min(gap) - cost, 0.0) for gap in gaps]

    def _marks(self, x: Tensor) -> list[float]:
        marks: list[float] = []

        def mark(*_: Any) -> None:
            marks.append(self._now())

        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.callback(layer.register_forward_pre_hook(mark).remove)
                hooks.callback(layer.register_forward_hook(mark).remove)
            mark()
            self._model(x)
            mark()
        return marks


def _pairs(marks: list[float]) -> list[tuple[float, float]]:
    return list(zip(marks[::2], marks[1::2], strict=True))
