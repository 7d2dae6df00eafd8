"""Fixup ResNet-50: a residual network without batch norm, trained from a careful start.

Scalar shifts and one scalar multiplier per block stand in for the norms. As published, a shift is
added to a convolution's *input*, which would turn every zero of that input into the shift. Here
it is added behind the convolution, to the same sums, so that the input keeps its zeros.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn.functional import conv2d

from espalier.nn.networks.init import kaiming_normal
from espalier.nn.networks.resnet import DEPTHS, STAGE_WIDTHS, residual_stages

BRANCH_LAYERS = 3  # m of the paper: convolutions in a residual branch


def shifted(conv: nn.Conv2d, x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """``conv(x + shift)``, computed as ``conv(x) + shift * conv(1)``.

    ``conv(1)`` is the convolution of one image of ones in one channel, so it costs next to
    nothing; at the border it knows that the padding is not shifted.

    Arguments:
        conv: any convolution with zero padding and one group.
        x: ``[images, channels, height, width]``.
        shift: a scalar parameter ``[1]``.

    >>> conv = nn.Conv2d(3, 4, 3, padding=1)
    >>> x, shift = torch.rand(2, 3, 5, 5), torch.tensor([0.5])
    >>> torch.allclose(shifted(conv, x, shift), conv(x + shift), atol=1e-5)
    True
    """
    ones = x.new_ones(1, 1, *x.shape[2:])
    weight = conv.weight.sum(dim=1, keepdim=True)
    of_ones = conv2d(ones, weight, None, conv.stride, conv.padding, conv.dilation)
    output: torch.Tensor = conv(x) + shift * of_ones
    return output


class FixupBottleneck(nn.Module):
    """A bottleneck whose residual branch is zero at the start.

    Arguments:
        in_channels: of the input.
        width: channels of the 3x3; the output has four times as many.
        stride: of the 3x3.
        blocks: residual blocks of the whole network, L of the paper.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, blocks: int) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.shift1, self.bias1 = _scalar(0.0), _scalar(0.0)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.relu1 = nn.ReLU(inplace=True)
        self.shift2, self.bias2 = _scalar(0.0), _scalar(0.0)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.relu2 = nn.ReLU(inplace=True)
        self.shift3, self.bias3 = _scalar(0.0), _scalar(0.0)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.scale = _scalar(1.0)
        self.downsample: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        self.relu3 = nn.ReLU(inplace=True)
        self._initialise(blocks)

    def _initialise(self, blocks: int) -> None:
        """Rules 1 and 2 of the paper: the last layer zero, the others He's times L^(-1/(2m-2))."""
        factor = blocks ** (-1.0 / (2 * BRANCH_LAYERS - 2))
        kaiming_normal(self.conv1, "fan_out", scale=factor)
        kaiming_normal(self.conv2, "fan_out", scale=factor)
        nn.init.zeros_(self.conv3.weight)
        if self.downsample is not None:
            kaiming_normal(self.downsample, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, ``[images, 4 * width, height / stride, width / stride]``."""
        shortcut = x if self.downsample is None else shifted(self.downsample, x, self.shift1)
        output: torch.Tensor = self.relu3(self.branch(x) + shortcut)
        return output

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """The residual branch alone."""
        hidden = self.relu1(shifted(self.conv1, x, self.shift1) + self.bias1)
        hidden = self.relu2(shifted(self.conv2, hidden, self.shift2) + self.bias2)
        return shifted(self.conv3, hidden, self.shift3) * self.scale + self.bias3


class FixupResNet(nn.Module):
    """Stem, four stages of `FixupBottleneck`, average pooling and a linear layer, all unnormed.

    Arguments:
        num_classes: outputs.
        in_channels: of the images.

    Source: Zhang, Dauphin, Ma, "Fixup Initialization: Residual Learning Without Normalization",
    ICLR 2019, section 3; the network is that of the authors' repository hongyi-zhang/Fixup.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = STAGE_WIDTHS[0]
        self.stem = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.bias1 = _scalar(0.0)
        self.relu = nn.ReLU(inplace=True)
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1)
        block, expansion = partial(FixupBottleneck, blocks=sum(DEPTHS)), FixupBottleneck.expansion
        self.stages = residual_stages(block, expansion, DEPTHS)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.bias2 = _scalar(0.0)
        self.fc = nn.Linear(STAGE_WIDTHS[-1] * expansion, num_classes)
        kaiming_normal(self.stem, "fan_out")
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores ``[images, num_classes]`` of ``[images, channels, height, width]``."""
        features = self.max_pool(self.relu(self.stem(images) + self.bias1))
        features = self.pool(self.stages(features)).flatten(1)
        scores: torch.Tensor = self.fc(features + self.bias2)
        return scores


def fixup_resnet50(num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Fixup ResNet-50: the convolutions of ResNet-50, and 114 scalars for its batch norms.

    >>> sum(p.numel() for p in fixup_resnet50().parameters())
    25504026
    """
    return FixupResNet(num_classes, in_channels)


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((1,), value))
