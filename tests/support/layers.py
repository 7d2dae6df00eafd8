"""What the tests of the PyTorch layers share: tensors with zeros, and made-up latencies."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from espalier.nn import ZeroSkipConv2d, ZeroSkipLinear, ZeroSkipReLU
from espalier.nn.zeroskip.autotune import LayerTuner
from espalier.nn.zeroskip.latency import DENSITIES, VARIANTS, LatencyCurve
from espalier.nn.zeroskip.measure import LatencyCache
from espalier.nn.zeroskip.problem import ProblemShape


def thinned(tensor: Tensor, density: float, clustered: bool = False) -> Tensor:
    """A tensor of which only a share is kept: entries at random, or whole channels."""
    shape = (1, tensor.shape[1], *[1] * (tensor.dim() - 2)) if clustered else tensor.shape
    return torch.where(torch.rand(shape) < density, tensor, 0.0)


class MadeUpLatencies(LatencyCache):
    """Every variant takes its density times a factor, dense takes 1 second."""

    def __init__(self, factors: dict[str, float] | None = None) -> None:
        super().__init__()
        self.factors = factors or {}
        self.asked: list[tuple[ProblemShape, str]] = []

    def curve(self, problem: ProblemShape, pass_name: str) -> LatencyCurve:
        self.asked.append((problem, pass_name))
        return line(pass_name, self.factors)


def line(pass_name: str, factors: dict[str, float]) -> LatencyCurve:
    return LatencyCurve(
        1.0,
        {
            name: tuple(factors.get(name, 1.0) * density for density in DENSITIES)
            for name in VARIANTS[pass_name]
        },
    )


def forced(model: nn.Module, rule: str = "zeroskip") -> nn.Module:
    """The model with all layers that could be ours made ours, every pass by force."""
    ours = {nn.Conv2d: ZeroSkipConv2d, nn.Linear: ZeroSkipLinear, nn.ReLU: ZeroSkipReLU}
    for module in model.modules():
        if type(module) in ours:
            module.__class__ = ours[type(module)]
        if isinstance(module, (ZeroSkipConv2d, ZeroSkipLinear)):
            module.reset_tuner(rule)
    return model


def small_vgg(batch_norm: bool = False, channels: int = 8) -> nn.Sequential:
    """Convolutions, ReLUs, max-pooling and linear layers for images 1 x 12 x 12."""

    def norm() -> list[nn.Module]:
        return [nn.BatchNorm2d(channels)] if batch_norm else []

    return nn.Sequential(
        *(nn.Conv2d(1, channels, 3, padding=1), *norm(), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 3, padding=1), *norm(), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(channels, channels, 3, padding=1), *norm(), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(9 * channels, 16), nn.ReLU(), nn.Linear(16, 10)),
    )


def kinds(model: nn.Module) -> list[str]:
    """The class names of the modules without children, in order."""
    return [type(module).__name__ for module in model.modules() if not list(module.children())]


def only_needed(layer: ZeroSkipConv2d | ZeroSkipLinear) -> ZeroSkipConv2d | ZeroSkipLinear:
    """A layer for which the gradient of the input is cheapest where it is needed."""
    layer.tuner = LayerTuner(latencies=MadeUpLatencies({"needed": 0.01, "gradient": 9.0}))
    return layer


def images() -> Tensor:
    """The same small images at each call, as a leaf in channels_last."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    return x.detach().requires_grad_()


def gradients(layer: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    """Output, and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], dy)]


def assert_same(ours: nn.Module, x: torch.Tensor, dy: torch.Tensor, terms: int) -> None:
    """Equal to the layer in float64, up to the rounding of sums of so many terms."""
    exact = copy.deepcopy(ours).double()
    expected = gradients(exact, x.double(), dy.double())
    for result, truth in zip(gradients(ours, x, dy), expected, strict=True):
        scale = max(float(truth.abs().max()), 1.0)
        torch.testing.assert_close(
            result.double(), truth, rtol=0, atol=4 * terms**0.5 * 2**-23 * scale + 1e-7
        )
