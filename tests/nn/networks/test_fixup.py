"""What makes a residual network train without normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.nn.networks import fixup_resnet50
from espalier.nn.networks.fixup import FixupBottleneck, shifted


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return fixup_resnet50(num_classes=5)


def blocks(model: nn.Module) -> list[FixupBottleneck]:
    return [module for module in model.modules() if isinstance(module, FixupBottleneck)]


def test_residual_branches_and_scores_start_at_zero(model: nn.Module) -> None:
    for block in blocks(model):
        x = torch.randn(1, block.conv1.in_channels, 8, 8)
        assert not block.branch(x).any()
    assert not model(torch.randn(1, 3, 64, 64)).any()


def test_scalars_stand_in_for_the_norms(model: nn.Module) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for block in blocks(model):
        scalars = {n: p.item() for n, p in block.named_parameters() if p.numel() == 1}
        assert len(scalars) == 7 and scalars.pop("scale") == 1.0
        assert not any(scalars.values())


def test_deep_weights_start_small(model: nn.Module) -> None:
    """He's deviation times L^(-1/(2m-2)) with L = 16 blocks of m = 3 layers: half of it."""
    block = blocks(model)[-1]
    he = (2.0 / (block.conv2.out_channels * 9)) ** 0.5
    assert block.conv2.weight.std().item() == pytest.approx(0.5 * he, rel=0.02)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1)]
)
def test_shift_behind_the_convolution_is_the_published_one(kernel, stride, padding) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, kernel, stride, padding, bias=False).double()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    inputs = (x, shift, conv.weight)
    found, wanted = shifted(conv, x, shift), conv(x + shift)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((wanted * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_convolutions_see_the_zeros_of_the_relus(model: nn.Module) -> None:
    seen: list[float] = []
    hooks = [
        block.conv2.register_forward_pre_hook(
            lambda _, inputs: seen.append((inputs[0] == 0).float().mean().item())
        )
        for block in blocks(model)
    ]
    with torch.no_grad():
        for block in blocks(model):
            block.shift2.fill_(0.1)
        model(torch.randn(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert len(seen) == 16 and min(seen) > 0.2
