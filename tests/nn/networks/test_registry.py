"""Networks by name: each form builds, takes shapes from the data, and bad names are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.errors import InputError
from espalier.nn.networks import MLP, build, image_side, lenet5_caffe

SPECS = ["mlp:32", "mlp:300-100", "lenet5", "vgg-small:4", "resnet34", "fixup-resnet50"]


@pytest.mark.parametrize("spec", SPECS)
def test_it_reads_images_of_the_side_it_wants(spec: str) -> None:
    side = image_side(spec, 8)
    with torch.device("meta"):
        model = build(spec, in_channels=2, size=side, num_classes=7)
        assert model(torch.empty(3, 2, side, side)).shape == (3, 7)


@pytest.mark.parametrize(
    ("spec", "weights"), [("mlp:300-100", 266_200), ("lenet5", 430_500), ("mlp:500-300", 545_000)]
)
def test_weights_are_as_many_as_published(spec: str, weights: int) -> None:
    model = build(spec, in_channels=1, size=28, num_classes=10)
    layers = (nn.Linear, nn.Conv2d)
    found = [module.weight.numel() for module in model.modules() if isinstance(module, layers)]
    assert sum(found) == weights


@pytest.mark.parametrize(
    "spec",
    [
        *("", "mlp", "mlp:", "mlp:0", "mlp:300-", "mlp:-3", "mlp:3000000000", "mlp:300 100"),
        *("lenet5:2", "vgg-small:", "vgg-small:0", "radixnet:1024", "radixnet:1024x0", "alexnet"),
    ],
)
def test_other_words_are_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"model is .*, wanted mlp:300-100, lenet5, vgg-small"):
        build(spec, in_channels=1, size=28, num_classes=10)


def test_images_of_another_side_are_refused() -> None:
    with pytest.raises(InputError, match="side of 32, lenet5 wants 28"):
        build("lenet5", in_channels=1, size=32, num_classes=10)


@pytest.mark.parametrize("widths", [[], [3], [3, 0, 2]])
def test_an_mlp_needs_two_widths(widths: list[int]) -> None:
    with pytest.raises(InputError, match="widths is"):
        MLP(widths)


def test_an_mlp_starts_as_he_says() -> None:
    torch.manual_seed(0)
    model = MLP([400, 300, 10])
    assert model[1].weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not model[1].bias.any() and len(model) == 4


def test_caffes_lenet_keeps_the_classic_apart() -> None:
    model = lenet5_caffe(num_classes=3)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    assert model.features[0].padding == (0, 0)
