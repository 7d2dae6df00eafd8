"""He's initialisation, which every network here starts from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn


def kaiming_normal(
    model: nn.Module,
    fan: Literal["fan_in", "fan_out"],
    *,
    kind: type[nn.Conv2d] | type[nn.Linear] = nn.Conv2d,
    scale: float = 1.0,
) -> None:
    """Draw weights with variance 2 / fan and set the biases to zero.

    Arguments:
        model: changed in place; layers of other kinds keep what they have.
        fan: ``"fan_in"`` keeps the size of activations from layer to layer, ``"fan_out"`` that of
            gradients.
        kind: of the layers to draw.
        scale: weights are multiplied by it.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
    """
    for layer in model.modules():
        if isinstance(layer, kind):
            nn.init.kaiming_normal_(layer.weight, mode=fan, nonlinearity="relu")
            with torch.no_grad():
                layer.weight.mul_(scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
