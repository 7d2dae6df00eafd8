"""A multilayer perceptron: linear layers with ReLU between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from espalier.errors import InputError
from espalier.nn.networks.init import kaiming_normal


class MLP(nn.Sequential):
    """Flatten, then linear layers with ReLU between them, from He's initialisation.

    Arguments:
        widths: inputs, hidden units of every layer, outputs; at least two positive numbers.

    Raises:
        InputError: fewer than two widths, or one below 1.

    Source: 784-300-100-10, "LeNet-300-100", is the network of LeCun, Bottou, Bengio, Haffner,
    "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 1998,
    section III.C, there with tanh; He et al., "Delving Deep into Rectifiers", ICCV 2015.

    >>> model = MLP([784, 300, 100, 10])
    >>> sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
    266200
    """

    def __init__(self, widths: Sequence[int]) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise InputError(
                f"widths is {list(widths)}, wanted at least two numbers from 1 up: inputs, hidden "
                "units, outputs"
            )
        super().__init__(nn.Flatten())
        for inputs, outputs in pairwise(widths):
            if len(self) > 1:
                self.append(nn.ReLU(inplace=True))
            self.append(nn.Linear(inputs, outputs))
            kaiming_normal(self[-1], "fan_in", kind=nn.Linear)
