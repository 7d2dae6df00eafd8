"""How sparse and how fast a network is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from espalier import fssl
from espalier.fssl import Groups, TimeModel
from espalier.training.size import weights_of

CSR = "csr"


class Shape(NamedTuple):
    """What is left of a network.

    Attributes:
        nonzeros: weights that are not 0, biases not counted.
        units: living units: inputs, then those of each layer, outputs not counted.
        seconds: predicted time of one batch.
    """

    nonzeros: int
    units: list[int]
    seconds: float


def shape_of(groups: Groups, time: TimeModel) -> Shape:
    """The shape of a network of full size whose zeros are not cut out yet."""
    widths, nonzeros = groups.widths(), groups.nonzeros()
    # Layers without zeros between living units run as they are, dense.
    sparse = [
        count if count < layer.weights(*groups.layer_widths(layer, widths)) else None
        for layer, count in zip(groups.layers, nonzeros, strict=True)
    ]
    return Shape(sum(nonzeros), widths, time.seconds(widths, sparse))


def compact_shape(small: nn.Module, time: TimeModel) -> Shape:
    """The shape of what `fssl.compact` made of a network that ``time`` knows."""
    report = fssl.compact_report(small)
    widths = [family.kept for family in report.removed]
    sparse = [layer.after.weights if layer.backend == CSR else None for layer in report.layers]
    nonzeros = sum(int(torch.count_nonzero(weight)) for weight in weights_of(small))
    return Shape(nonzeros, widths, time.seconds(widths, sparse))
