"""VGG: 3x3 convolutions, each followed by ReLU, with max-pooling between the stages.

Nothing stands between convolution and ReLU: inputs and output gradients are sparse in all passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from espalier.nn.networks.init import kaiming_normal

# Channels of the convolutions of each stage; a 2x2 max-pool ends a stage.
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Stages of 3x3 convolutions, then fully connected layers.

    Arguments:
        stages: output channels of every convolution, stage by stage.
        hidden: widths of the fully connected layers before the last one.
        pooled: side of the grid that the features are averaged to.
        num_classes: outputs.
        in_channels: of the images.
        dropout: probability after each hidden layer; 0 for none.

    Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", ICLR 2015.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        hidden: Sequence[int],
        *,
        pooled: int,
        num_classes: int,
        in_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels = in_channels
        for stage in stages:
            for width in stage:
                self.features.append(nn.Conv2d(channels, width, 3, padding=1))
                self.features.append(nn.ReLU(inplace=True))
                channels = width
            self.features.append(nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential()
        features = channels * pooled**2
        for width in hidden:
            self.classifier.append(nn.Linear(features, width))
            self.classifier.append(nn.ReLU(inplace=True))
            if dropout:
                self.classifier.append(nn.Dropout(dropout))
            features = width
        self.classifier.append(nn.Linear(features, num_classes))
        kaiming_normal(self, "fan_in")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores ``[images, num_classes]`` of ``[images, channels, height, width]``."""
        features = self.pool(self.features(images))
        scores: torch.Tensor = self.classifier(features.flatten(1))
        return scores


def vgg16(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """VGG16, configuration D of the paper, for images of 32 x 32 pixels and more.

    >>> with torch.device("meta"):
    ...     model = vgg16()
    >>> sum(p.numel() for p in model.parameters())
    138357544
    """
    return VGG(
        VGG16_STAGES,
        (4096, 4096),
        pooled=7,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=0.5,
    )


def vgg_small(num_classes: int = 10, in_channels: int = 1, width: int = 64) -> VGG:
    """Six convolutions for images of 28 x 28 (MNIST) or 32 x 32 pixels.

    Arguments:
        num_classes: outputs.
        in_channels: 1 for grey images, 3 for colour.
        width: channels of the first stage; the next two have twice and four times as many.

    >>> vgg_small()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    stages = tuple((factor * width, factor * width) for factor in (1, 2, 4))
    return VGG(stages, (8 * width,), pooled=2, num_classes=num_classes, in_channels=in_channels)
