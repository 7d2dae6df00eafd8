"""LeNet-5 for MNIST, with ReLU and max-pooling as it is taught today."""

from __future__ import annotations

import torch
from torch import nn

SIDE = 28


class LeNet5(nn.Module):
    """Two 5x5 convolutions and some linear layers for images of 28 x 28 pixels.

    Arguments:
        num_classes: outputs.
        in_channels: of the images.
        channels: filters of the two convolutions.
        hidden: widths of the linear layers before the last one.
        padding: pixels of zeros around the images.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE 1998, section II; there with tanh, trained pooling and a
    partial connection of the second convolution.

    >>> sum(p.numel() for p in LeNet5().parameters())
    61706
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        channels: tuple[int, int] = (6, 16),
        hidden: tuple[int, ...] = (120, 84),
        padding: int = 2,
    ) -> None:
        super().__init__()
        first, second = channels
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, first, 5, padding=padding),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        side = ((SIDE + 2 * padding - 4) // 2 - 4) // 2
        inputs = second * side**2
        self.classifier = nn.Sequential()
        for width in hidden:
            self.classifier.append(nn.Linear(inputs, width))
            self.classifier.append(nn.ReLU(inplace=True))
            inputs = width
        self.classifier.append(nn.Linear(inputs, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores ``[images, num_classes]`` of ``[images, channels, 28, 28]``."""
        scores: torch.Tensor = self.classifier(self.features(images).flatten(1))
        return scores


def lenet5_caffe(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """The LeNet-5 of Caffe's example, 20-50-500, which papers on compression start from.

    >>> model = lenet5_caffe()
    >>> sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
    430500
    """
    return LeNet5(num_classes, in_channels, channels=(20, 50), hidden=(500,), padding=0)
