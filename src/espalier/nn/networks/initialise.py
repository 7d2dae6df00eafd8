"""He's initialisation, which every network here starts from."""

from __future__ import annotations

from typing import Literal

from torch import nn


def he_normal(model: nn.Module, fan: Literal["fan_in", "fan_out"]) -> None:
    """Draw convolution weights with variance 2 / fan and set their biases to zero.

    Batch norms start as the identity, as PyTorch makes them.

    Arguments:
        model: changed in place; layers other than convolutions keep what they have.
        fan: ``"fan_in"`` keeps the size of activations from layer to layer, ``"fan_out"`` that of
            gradients.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
