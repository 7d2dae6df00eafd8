"""LeNet-5 for MNIST, with ReLU and max-pooling as it is taught today."""

from __future__ import annotations

import torch
from torch import nn


class LeNet5(nn.Module):
    """Two 5x5 convolutions and three linear layers for images of 28 x 28 pixels.

    Arguments:
        num_classes: outputs.
        in_channels: of the images.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE 1998, section II; there with tanh, trained pooling and a
    partial connection of the second convolution.

    >>> sum(p.numel() for p in LeNet5().parameters())
    61706
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores ``[images, num_classes]`` of ``[images, channels, 28, 28]``."""
        scores: torch.Tensor = self.classifier(self.features(images).flatten(1))
        return scores
