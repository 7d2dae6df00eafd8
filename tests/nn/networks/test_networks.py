"""Every network: published size, shapes, and that it trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from espalier.nn.networks import (
    LeNet5,
    fixup_resnet50,
    resnet34,
    resnet50,
    vgg16,
    vgg_small,
)

PUBLISHED_PARAMETERS = {
    vgg16: 138_357_544,
    resnet34: 21_797_672,
    resnet50: 25_557_032,
    # ResNet-50 without its 2 * 26,560 of batch norm, with 7 scalars per block and 2 more.
    fixup_resnet50: 25_557_032 - 53_120 + 16 * 7 + 2,
    LeNet5: 61_706,
}
RELUS = {vgg16: 15, resnet34: 33, resnet50: 49, fixup_resnet50: 49, LeNet5: 4}
SMALL_IMAGES = {
    "LeNet5": (lambda: LeNet5(num_classes=3), 28),
    "vgg_small": (lambda: vgg_small(num_classes=3, width=8), 28),
    "vgg_small, 32 pixels": (lambda: vgg_small(num_classes=3, width=8), 32),
    "resnet34": (lambda: resnet34(num_classes=3, in_channels=1), 32),
    "resnet50": (lambda: resnet50(num_classes=3, in_channels=1), 32),
    "fixup_resnet50": (lambda: fixup_resnet50(num_classes=3, in_channels=1), 32),
}


def on_paper(build, **arguments: int) -> nn.Module:
    """The network without storage: shapes only."""
    with torch.device("meta"):
        return build(**arguments)


def images_on_paper(build, channels: int) -> torch.Tensor:
    side = 28 if build is LeNet5 else 64
    return torch.empty(2, channels, side, side, device="meta")


@pytest.mark.parametrize("build", PUBLISHED_PARAMETERS, ids=lambda build: build.__name__)
def test_parameters_are_as_many_as_published(build) -> None:
    parameters = on_paper(build).parameters()
    assert sum(p.numel() for p in parameters) == PUBLISHED_PARAMETERS[build]


@pytest.mark.parametrize("build", PUBLISHED_PARAMETERS, ids=lambda build: build.__name__)
def test_classes_and_channels_are_the_callers(build) -> None:
    model = on_paper(build, num_classes=7, in_channels=2)
    assert model(images_on_paper(build, 2)).shape == (2, 7)


@pytest.mark.parametrize("build", PUBLISHED_PARAMETERS, ids=lambda build: build.__name__)
def test_every_relu_is_a_module_that_runs_once(build) -> None:
    """Shared or functional ReLUs could not be replaced one by one."""
    model = on_paper(build, in_channels=3)
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    runs = []
    for relu in relus:
        relu.register_forward_hook(lambda module, *_: runs.append(module))
    model(images_on_paper(build, 3))
    assert len(runs) == len(set(runs)) == len(relus) == RELUS[build]


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_a_training_step_lowers_the_loss(name: str) -> None:
    build, side = SMALL_IMAGES[name]
    torch.manual_seed(0)
    model = build()
    images, labels = torch.randn(8, 1, side, side), torch.arange(8) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = cross_entropy(model(images), labels)
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    optimizer.step()
    assert cross_entropy(model(images), labels).item() < before.item()


def test_channels_last_changes_nothing() -> None:
    torch.manual_seed(0)
    model, images = vgg_small(width=8).eval(), torch.randn(2, 1, 28, 28)
    plain = model(images)
    model.to(memory_format=torch.channels_last)
    found = model(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)
