"""What the SparseTrain paper reports, and the bounds that follow from its zeros."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.sparsetrain.shapes import PASSES, LayerShape, Pass, Variant, variants
from benchmarks.sparsetrain.zeros import RESNET34, RESNET50, RESNET50_OUTPUT, VGG16, Row


@dataclass(frozen=True, slots=True)
class PublishedLayer:
    """A convolution and its mean zeros over training.

    Arguments:
        input_zeros: part of the input that is zero.
        gradient_zeros: part of the gradient of the output that is zero; 0 behind a batch norm.
    """

    name: str
    shape: LayerShape
    input_zeros: float
    gradient_zeros: float

    def zeros(self, name: Pass) -> dict[Variant, float]:
        """The zeros that each way to skip meets in a pass."""
        ways = variants(name, sparse_gradient=self.gradient_zeros > 0.0)
        return {
            variant: self.gradient_zeros if variant == "gradient" else self.input_zeros
            for variant in ways
        }


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """All convolutions of a network but the first.

    Arguments:
        speedup: of training these layers against MKL-DNN's dense direct convolution on a
            6-core Skylake-X.
    """

    name: str
    layers: tuple[PublishedLayer, ...]
    speedup: float

    @property
    def multiply_adds(self) -> int:
        """Of one image and one pass."""
        return sum(layer.shape.multiply_adds for layer in self.layers)

    @property
    def shapes(self) -> set[LayerShape]:
        """The distinct ones."""
        return {layer.shape for layer in self.layers}

    def bound(self, *, needed: bool) -> float:
        """Speed-up over the three passes if every zero saved its work.

        Arguments:
            needed: let BWI compute only where its ReLU lets something through. The paper does not.

        >>> [round(network.bound(needed=False), 2) for network in NETWORKS.values()]
        [5.77, 1.69, 1.69, 2.77]
        """

        def left(layer: PublishedLayer, name: Pass) -> float:
            zeros = layer.zeros(name)
            if not needed:
                zeros.pop("needed", None)
            return layer.shape.multiply_adds * (1.0 - max(zeros.values(), default=0.0))

        work = sum(left(layer, name) for layer in self.layers for name in PASSES)
        return len(PASSES) * self.multiply_adds / work


def _layers(
    rows: tuple[Row, ...], gradient_zeros: Callable[[int, Row], float] = lambda _, row: row[7]
) -> tuple[PublishedLayer, ...]:
    return tuple(
        PublishedLayer(row[0], LayerShape(*row[1:6]), row[6], gradient_zeros(index, row))
        for index, row in enumerate(rows)
    )


def _behind_relu(index: int, row: Row) -> float:
    """Zeros of the ReLU that a convolution of Fixup ResNet-50 reaches without a norm between.

    Behind conv3 and the shortcut that is the ReLU after the residual addition; what it gives is
    the input of the next block.
    """
    block, _, conv = row[0].rpartition(".")
    following = {"conv1": "conv2", "conv2": "conv3"}.get(conv)
    for later in RESNET50[index + 1 :]:
        if later[0] == f"{block}.{following}" if following else not later[0].startswith(block):
            return later[6]
    return RESNET50_OUTPUT


# "SparseTrain: Leveraging Dynamic Sparsity in Training DNNs on General-Purpose SIMD Processors",
# PACT 2020, and arXiv 1911.10175; its abstract has the four figures.
NETWORKS = {
    network.name: network
    for network in (
        PublishedNetwork("VGG16", _layers(VGG16), 2.19),
        PublishedNetwork("ResNet-34", _layers(RESNET34), 1.37),
        PublishedNetwork("ResNet-50", _layers(RESNET50), 1.31),
        PublishedNetwork("Fixup ResNet-50", _layers(RESNET50, _behind_relu), 1.51),
    )
}
FIXUP_NOTE = (
    "Fixup ResNet-50 has no published sheet: its input zeros are those of ResNet-50, its gradient "
    "zeros those of the ReLU each convolution reaches, since no batch norm lies between."
)
