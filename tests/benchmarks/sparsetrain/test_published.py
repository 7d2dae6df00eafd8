"""The tables of published zeros agree with the paper and with our own networks."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from benchmarks.sparsetrain.published import NETWORKS
from benchmarks.sparsetrain.shapes import LayerShape
from espalier.nn import networks

MODELS = {
    "VGG16": networks.vgg16,
    "ResNet-34": networks.resnet34,
    "ResNet-50": networks.resnet50,
    "Fixup ResNet-50": networks.fixup_resnet50,
}


@pytest.mark.parametrize("name", MODELS)
def test_layers_are_the_convolutions_of_the_network(name: str) -> None:
    """As counted while a model of ours runs, without the first convolution."""
    seen: list[LayerShape] = []

    def note(conv: nn.Conv2d, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        channels = conv.in_channels, conv.out_channels
        seen.append(LayerShape(*channels, inputs[0].shape[2], conv.kernel_size[0], conv.stride[0]))

    with torch.device("meta"):
        model = MODELS[name]()
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note)
        model(torch.empty(1, 3, 224, 224))
    assert Counter(seen[1:]) == Counter(layer.shape for layer in NETWORKS[name].layers)


@pytest.mark.parametrize(
    ("name", "layers", "gmacs"),
    [("VGG16", 12, 15.26), ("ResNet-34", 35, 3.545), ("ResNet-50", 52, 3.969)],
)
def test_work_of_a_pass(name: str, layers: int, gmacs: float) -> None:
    network = NETWORKS[name]
    assert len(network.layers) == layers
    assert network.multiply_adds / 1e9 == pytest.approx(gmacs, rel=1e-3)


def test_batch_norms_leave_backward_by_input_nothing_but_what_is_not_needed() -> None:
    resnet = NETWORKS["ResNet-50"]
    assert all(layer.gradient_zeros == 0.0 for layer in resnet.layers)
    assert resnet.bound(needed=False) == pytest.approx(1.69, abs=0.01)
    assert resnet.bound(needed=True) == pytest.approx(2.56, abs=0.01)


def test_fixup_gradients_have_the_zeros_of_the_next_relu() -> None:
    plain = {layer.name: layer for layer in NETWORKS["ResNet-50"].layers}
    fixup = {layer.name: layer for layer in NETWORKS["Fixup ResNet-50"].layers}
    pairs = {
        "layer1.0.conv1": "layer1.0.conv2",
        "layer2.1.conv2": "layer2.1.conv3",
        "layer1.0.conv3": "layer1.1.conv1",
        "layer1.0.downsample": "layer1.1.conv1",
        "layer3.5.conv3": "layer4.0.conv1",
    }
    for name, reads in pairs.items():
        assert fixup[name].gradient_zeros == plain[reads].input_zeros
        assert fixup[name].input_zeros == plain[name].input_zeros
    assert fixup["layer4.2.conv3"].gradient_zeros == 0.8568


def test_zeros_are_parts() -> None:
    for network in NETWORKS.values():
        for layer in network.layers:
            assert 0.0 < layer.input_zeros < 1.0 and 0.0 <= layer.gradient_zeros < 1.0
        assert 1.0 < network.speedup < network.bound(needed=False)
