"""PyTorch models with units that are dead, constant or equal, drawn by hypothesis."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from espalier.nn.networks.fixup import FixupBottleneck


class Residual(nn.Module):
    """A convolution with batch norm around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)) + x)


class SmallFixup(nn.Module):
    """Two Fixup blocks, whose forward pass uses the weights of their convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.Sequential(FixupBottleneck(8, 4, 2, 2), FixupBottleneck(16, 4, 1, 2))
        self.fc = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.blocks(torch.relu(self.stem(images))).mean((2, 3)))


@torch.no_grad()
def damage(model: nn.Module, seed: int) -> None:
    """Make rows and columns of weights zero, rows equal, and batch norms uneven."""
    draw = torch.Generator().manual_seed(seed)

    def some(count: int, share: float) -> Tensor:
        return torch.rand(count, generator=draw) < share

    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            weight = module.weight
            weight[some(weight.shape[0], 0.3)] = 0.0
            weight[:, some(weight.shape[1], 0.3)] = 0.0
            weight[torch.rand(weight.shape, generator=draw) < 0.3] = 0.0
            copied = some(weight.shape[0], 0.2)
            weight[copied] = weight[:1].clone()
            if module.bias is not None:
                module.bias.copy_(torch.randn(module.bias.shape, generator=draw))
                module.bias[copied] = module.bias[:1].clone()
                module.bias[some(len(module.bias), 0.2)] = 0.0
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                if tensor is not None:
                    tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
                    tensor[some(len(tensor), 0.7)] = 0.5
            if module.weight is not None:
                module.weight[some(len(module.weight), 0.2)] = 0.0


def randomise(model: nn.Module, seed: int) -> None:
    """Normal numbers for parameters that start at zero, so that they matter."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, 0.1, 0.2)


@st.composite
def mlps(draw: st.DrawFn) -> nn.Sequential:
    """A damaged perceptron of 6 inputs."""
    seed = draw(st.integers(0, 2**31))
    torch.manual_seed(seed)
    widths = [6, *draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)), 4]
    steps: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths[:-1]):
        steps.append(nn.Linear(inputs, outputs, bias=draw(st.booleans())))
        if draw(st.booleans()):
            steps.append(nn.BatchNorm1d(outputs, affine=draw(st.booleans())))
        steps.append(draw(st.sampled_from([nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh()])))
        if draw(st.booleans()):
            steps.append(nn.Dropout(0.3))
    model = nn.Sequential(*steps, nn.Linear(widths[-2], widths[-1], bias=draw(st.booleans())))
    damage(model, seed)
    return model


@st.composite
def conv_nets(draw: st.DrawFn) -> nn.Sequential:
    """A damaged convolution network for images of 1 x 9 x 9, with shortcuts and batch norms."""
    seed = draw(st.integers(0, 2**31))
    torch.manual_seed(seed)
    steps: list[nn.Module] = []
    channels = 1
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.integers(2, 6))
        steps.append(nn.Conv2d(channels, width, 3, padding=draw(st.sampled_from([0, 1, "same"]))))
        channels = width
        if draw(st.booleans()):
            steps.append(nn.BatchNorm2d(channels))
        steps.append(nn.ReLU(inplace=draw(st.booleans())))
        if draw(st.booleans()):
            steps.append(Residual(channels))
    pools = [nn.MaxPool2d(2, padding=1), nn.AvgPool2d(2, padding=1), nn.AdaptiveAvgPool2d(1)]
    steps += [draw(st.sampled_from(pools)), nn.Flatten()]
    width = nn.Sequential(*steps).eval()(torch.zeros(1, 1, 9, 9)).shape[1]
    model = nn.Sequential(*steps, nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 3))
    damage(model, seed)
    return model
