"""How sparse, how large and how fast a network is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espalier import fssl
from espalier.fssl import Groups, TimeModel
from espalier.fssl.groups.modules import evaluating, weight_of
from espalier.nn import SparseLinear
from espalier.progress import Watch, silent
from espalier.timing.interleave import time_interleaved
from espalier.training.settings import TimeSource

BATCH = 256  # images of a predicted and a measured time
CSR = "csr"
LAYERS = (SparseLinear, nn.Linear, nn.Conv2d)
ROUNDS = 15
LEAST_SECONDS = 2e-3  # of one timing; shorter ones hold more noise than work


class Footprint(NamedTuple):
    """What is left of a network.

    Attributes:
        nonzeros: weights that are not 0, biases not counted.
        units: living units: inputs, then those of each layer, outputs not counted.
        seconds: predicted time of one batch.
    """

    nonzeros: int
    units: list[int]
    seconds: float


def footprint_of(groups: Groups, time: TimeModel) -> Footprint:
    """The footprint of a network of full size whose zeros are not cut out yet."""
    widths, nonzeros = groups.widths(), groups.nonzeros()
    # Layers without zeros between living units run as they are, dense.
    sparse = [
        count if count < layer.weights(*groups.layer_widths(layer, widths)) else None
        for layer, count in zip(groups.layers, nonzeros, strict=True)
    ]
    return Footprint(sum(nonzeros), widths, time.seconds(widths, sparse))


def compact_footprint(small: nn.Module, time: TimeModel) -> Footprint:
    """The footprint of what `fssl.compact` made of a network that ``time`` knows."""
    report = fssl.compact_report(small)
    widths = [family.kept for family in report.removed]
    sparse = [layer.after.weights if layer.backend == CSR else None for layer in report.layers]
    nonzeros = sum(int(torch.count_nonzero(weight)) for weight in weights_of(small))
    return Footprint(nonzeros, widths, time.seconds(widths, sparse))


def make_time_model(groups: Groups, source: TimeSource, watch: Watch = silent) -> TimeModel:
    """Times of a network on this machine and PyTorch's threads, or multiply-adds for them."""
    if source == "macs":
        return TimeModel.from_macs(groups, BATCH)
    with watch("timing layers", "timings") as progress:
        return TimeModel.measure(groups, BATCH, threads=torch.get_num_threads(), progress=progress)


@dataclass(frozen=True)
class Size:
    """Counts of one network.

    Attributes:
        weights: of linear and convolution layers as they are stored; biases not counted.
        nonzeros: of those that are not 0.
        parameter_bytes: of all parameters, buffers and sparse indices.
        multiply_adds: of one image.
    """

    weights: int
    nonzeros: int
    parameter_bytes: int
    multiply_adds: int


def size_of(model: nn.Module, example: Tensor) -> Size:
    """Count a network's weights, bytes and multiply-adds.

    Arguments:
        example: one image, ``[1, channels, side, side]``.

    >>> size_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))
    Size(weights=18, nonzeros=18, parameter_bytes=92, multiply_adds=18)
    """
    weights = weights_of(model)
    return Size(
        sum(weight.numel() for weight in weights),
        sum(int(torch.count_nonzero(weight)) for weight in weights),
        sum(tensor.nbytes for tensor in model.state_dict().values()),
        _multiply_adds(model, example),
    )


def weights_of(model: nn.Module) -> list[Tensor]:
    """The weights of all linear, sparse and convolution layers, biases not among them."""
    return [weight_of(layer) for layer in model.modules() if isinstance(layer, LAYERS)]


@torch.inference_mode()
def time_models(models: Mapping[str, nn.Module], images: Tensor) -> dict[str, float]:
    """Median seconds of each network over one batch, interleaved."""
    works = {name: partial(model, images) for name, model in models.items()}
    seconds = time_interleaved(works, rounds=ROUNDS, settle=0.0, at_least=LEAST_SECONDS)
    return {name: spread.median for name, spread in seconds.items()}


def _multiply_adds(model: nn.Module, example: Tensor) -> int:
    """One per weight and output position, counted while the example runs."""
    counts: list[int] = []

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        counts.append(weight_of(layer).numel() * positions)

    with evaluating(model), ExitStack() as hooks:
        for layer in model.modules():
            if isinstance(layer, LAYERS):
                hooks.enter_context(layer.register_forward_hook(count))
        model(example)
    return sum(counts)
