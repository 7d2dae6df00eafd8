"""Plain PyTorch networks to measure and to learn from: MLP, LeNet-5, VGG, ResNet, Fixup.

Every ReLU is a module of its own, so that tools which replace modules find all of them.
"""

from espalier.nn.networks.fixup import FixupResNet, fixup_resnet50
from espalier.nn.networks.lenet import LeNet5, lenet5_caffe
from espalier.nn.networks.mlp import MLP
from espalier.nn.networks.radixnet import RadixNet
from espalier.nn.networks.registry import build, image_side
from espalier.nn.networks.resnet import ResNet, resnet34, resnet50
from espalier.nn.networks.vgg import VGG, vgg16, vgg_small

__all__ = [
    "MLP",
    "VGG",
    "FixupResNet",
    "LeNet5",
    "RadixNet",
    "ResNet",
    "build",
    "fixup_resnet50",
    "image_side",
    "lenet5_caffe",
    "resnet34",
    "resnet50",
    "vgg16",
    "vgg_small",
]
