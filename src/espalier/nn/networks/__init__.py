"""Plain PyTorch networks to measure and to learn from: VGG, ResNet, Fixup, LeNet-5.

Every ReLU is a module of its own, so that tools which replace modules find all of them.
"""

from espalier.nn.networks.fixup import FixupResNet, fixup_resnet50
from espalier.nn.networks.lenet import LeNet5
from espalier.nn.networks.resnet import ResNet, resnet34, resnet50
from espalier.nn.networks.vgg import VGG, vgg16, vgg_small

__all__ = [
    "VGG",
    "FixupResNet",
    "LeNet5",
    "ResNet",
    "fixup_resnet50",
    "resnet34",
    "resnet50",
    "vgg16",
    "vgg_small",
]
