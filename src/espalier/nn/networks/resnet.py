"""ResNet: residual blocks of convolution, batch norm and ReLU.

Batch norm stands between convolution and ReLU, which makes output gradients dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from espalier.nn.networks.init import kaiming_normal

STAGE_WIDTHS = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)  # blocks of the stages of ResNet-34 and ResNet-50


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Arguments:
        in_channels: of the input.
        width: channels of both convolutions.
        stride: of the first one.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(in_channels, width, stride)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, ``[images, width, height / stride, width / stride]``."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        output: torch.Tensor = self.relu2(branch + self.downsample(x))
        return output


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 around a shortcut; the stride is in the 3x3.

    Arguments:
        in_channels: of the input.
        width: channels of the 3x3; the output has four times as many.
        stride: of the 3x3.

    Source: the stride is where "ResNet v1.5" has it; He et al. have it in the first 1x1.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _downsample(in_channels, out_channels, stride)
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, ``[images, 4 * width, height / stride, width / stride]``."""
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.relu2(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        output: torch.Tensor = self.relu3(branch + self.downsample(x))
        return output


class ResNet(nn.Module):
    """A 7x7 stem, four stages of residual blocks, average pooling and one linear layer.

    Arguments:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks of each stage.
        num_classes: outputs.
        in_channels: of the images.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        channels = STAGE_WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = residual_stages(block, block.expansion, depths)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(STAGE_WIDTHS[-1] * block.expansion, num_classes)
        kaiming_normal(self, "fan_out")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores ``[images, num_classes]`` of ``[images, channels, height, width]``."""
        features = self.pool(self.stages(self.stem(images)))
        scores: torch.Tensor = self.fc(features.flatten(1))
        return scores


def residual_stages(
    block: Callable[[int, int, int], nn.Module], expansion: int, depths: Sequence[int]
) -> nn.Sequential:
    """The stages of a residual network; each but the first halves the image in its first block.

    Arguments:
        block: makes a block from the channels of its input, its width and its stride.
        expansion: channels of a block's output over its width.
        depths: blocks of each stage.
    """
    stages, channels = nn.Sequential(), STAGE_WIDTHS[0]
    for width, depth in zip(STAGE_WIDTHS, depths, strict=True):
        stage = nn.Sequential()
        for position in range(depth):
            halves = position == 0 and width != STAGE_WIDTHS[0]
            stage.append(block(channels, width, 2 if halves else 1))
            channels = width * expansion
        stages.append(stage)
    return stages


def resnet34(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-34: basic blocks, 3 + 4 + 6 + 3 of them.

    >>> sum(p.numel() for p in resnet34().parameters())
    21797672
    """
    return ResNet(BasicBlock, DEPTHS, num_classes=num_classes, in_channels=in_channels)


def resnet50(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-50 with its stride in the 3x3 convolutions: bottlenecks, 3 + 4 + 6 + 3 of them.

    >>> sum(p.numel() for p in resnet50().parameters())
    25557032
    """
    return ResNet(Bottleneck, DEPTHS, num_classes=num_classes, in_channels=in_channels)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut: nothing where the shapes agree, else a 1x1 convolution and a batch norm."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
