"""Networks by name, such as ``mlp:300-100``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from espalier.errors import InputError
from espalier.nn.networks.fixup import fixup_resnet50
from espalier.nn.networks.lenet import SIDE, lenet5_caffe
from espalier.nn.networks.mlp import MLP
from espalier.nn.networks.radixnet import RadixNet
from espalier.nn.networks.resnet import resnet34, resnet50
from espalier.nn.networks.vgg import vgg_small

FORMS = (
    "mlp:300-100, lenet5, vgg-small, vgg-small:WIDTH, radixnet:1024x6, resnet34, resnet50 or "
    "fixup-resnet50"
)


class Images(NamedTuple):
    """What a network reads and answers: channels and side of square images, number of classes."""

    channels: int
    side: int
    classes: int


def build(spec: str, *, in_channels: int, size: int, num_classes: int) -> nn.Module:
    """Make the network of a name, with fresh weights.

    Arguments:
        spec: ``mlp:300-100`` (hidden widths), ``lenet5`` (20-50-500), ``vgg-small`` with the
            width of its first stage after a colon, ``radixnet:1024x6`` (neurons x layers, sparse
            from the start; images are resized to the neurons' square), ``resnet34``,
            ``resnet50``, ``fixup-resnet50``.
        in_channels: of the images.
        size: side of the square images, as `image_side` wants it.
        num_classes: outputs.

    Raises:
        InputError: no such network, or not for such images.

    >>> build("mlp:32-16", in_channels=1, size=8, num_classes=10)[1]
    Linear(in_features=64, out_features=32, bias=True)
    """
    images = Images(in_channels, size, num_classes)
    make = _parse(spec)
    side = image_side(spec, size)
    if size != side:
        raise InputError(f"images have a side of {size}, {spec} wants {side}: resize them")
    return make(images)


def image_side(spec: str, side: int) -> int:
    """The side that images of ``side`` pixels must be resized to for this network.

    Raises:
        InputError: no such network.

    >>> image_side("mlp:300-100", 8), image_side("lenet5", 8), image_side("vgg-small", 32)
    (8, 28, 32)
    """
    _parse(spec)
    if spec == "lenet5":
        return SIDE
    return side if spec.startswith(("mlp:", "radixnet:")) else max(side, SIDE)


def _parse(spec: str) -> Callable[[Images], nn.Module]:
    for form, make in _NETWORKS.items():
        numbers = [int(digits) for digits in re.findall(r"\d+", spec.partition(":")[2])]
        if re.fullmatch(form, spec) and all(numbers):
            return lambda images: make(images, *numbers)
    raise InputError(f"model is {spec!r}, wanted {FORMS}")


def _radixnet(images: Images, neurons: int, layers: int) -> nn.Module:
    if images.channels != 1:
        raise InputError(
            f"images have {images.channels} channels, radixnet wants 1: make them grey"
        )
    return RadixNet(neurons, layers, side=images.side, num_classes=images.classes)


# The form of a name, and how to make its network for such images, of the numbers behind the colon.
_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    r"mlp:\d{1,6}(-\d{1,6})*": lambda images, *hidden: MLP(
        [images.channels * images.side**2, *hidden, images.classes]
    ),
    r"lenet5": lambda images: lenet5_caffe(images.classes, images.channels),
    r"vgg-small(:\d{1,4})?": lambda images, *width: vgg_small(
        images.classes, images.channels, *width
    ),
    r"radixnet:\d{1,6}x\d{1,5}": _radixnet,
    r"resnet34": lambda images: resnet34(images.classes, images.channels),
    r"resnet50": lambda images: resnet50(images.classes, images.channels),
    r"fixup-resnet50": lambda images: fixup_resnet50(images.classes, images.channels),
}
