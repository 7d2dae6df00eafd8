"""A network that is sparse from the start: the layers of a RadiX-Net, and a classifier."""

from __future__ import annotations

import math

from torch import nn

from espalier.errors import InputError
from espalier.nn.sparse.linear import SparseLinear
from espalier.nn.sparse.patterns import radixnet


class RadixNet(nn.Sequential):
    """Images resized to one pixel a neuron, sparse layers with ReLU, then a dense linear layer.

    Arguments:
        neurons: of every sparse layer; a square.
        layers: how many of them.
        side: of the square grey images.
        num_classes: outputs.

    Raises:
        InputError: neurons that are no square, or that RadiX-Net cannot wire.

    Source: the challenge's networks, Kepner and Robinett, "RadiX-Net: Structured Sparse Matrices
    for Deep Neural Networks", IPDPSW 2019, here with weights that learn.

    >>> model = RadixNet(1024, 2, side=28, num_classes=10)
    >>> model[2]
    SparseLinear(in_features=1024, out_features=1024, nonzeros=32768, density=0.03125, bias=True)
    """

    def __init__(self, neurons: int, layers: int, *, side: int, num_classes: int) -> None:
        wanted = math.isqrt(neurons)
        if wanted**2 != neurons:
            raise InputError(
                f"neurons is {neurons}, wanted a square number, one for each pixel of an image; "
                f"such as {max(1, wanted) ** 2} or {(wanted + 1) ** 2}"
            )
        super().__init__()
        if side != wanted:
            self.append(nn.Upsample(size=(wanted, wanted), mode="bilinear"))
        self.append(nn.Flatten())
        for pattern in radixnet(neurons, layers):
            self.append(SparseLinear(neurons, neurons, pattern=pattern))
            self.append(nn.ReLU(inplace=True))
        self.append(nn.Linear(neurons, num_classes))
