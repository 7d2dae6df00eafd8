"""Zeros measured by the authors of SparseTrain while training on ImageNet.

Means over the training, of every convolution but the first. A row: name, input channels, output
channels, side of the square input, side of the kernel, stride, zeros of the input, zeros of the
gradient of the output. Padding is half a kernel. A batch norm behind makes that gradient dense.

Source: layer_sparsity_in_time_{vgg,resnet34,resnet50}.xlsx of the repository
andygongyb/SparseTrainTests, commit 9e34e4f; the sheets count zeros of activations. For VGG16 the
zeros of a gradient are those of the ReLU, or 1 - (1 - zeros of the pool) / 4 where a 2x2 max-pool
follows: one of four positions gets a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[str, int, int, int, int, int, float, float]

VGG16: tuple[Row, ...] = (
    ("conv1", 64, 64, 224, 3, 1, 0.4892, 0.8965),
    ("conv2", 64, 128, 112, 3, 1, 0.586, 0.7401),
    ("conv3", 128, 128, 112, 3, 1, 0.7401, 0.9178),
    ("conv4", 128, 256, 56, 3, 1, 0.671, 0.771),
    ("conv5", 256, 256, 56, 3, 1, 0.771, 0.7895),
    ("conv6", 256, 256, 56, 3, 1, 0.7895, 0.9423),
    ("conv7", 256, 512, 28, 3, 1, 0.7692, 0.8236),
    ("conv8", 512, 512, 28, 3, 1, 0.8236, 0.8618),
    ("conv9", 512, 512, 28, 3, 1, 0.8618, 0.9611),
    ("conv10", 512, 512, 14, 3, 1, 0.8444, 0.8043),
    ("conv11", 512, 512, 14, 3, 1, 0.8043, 0.7954),
    ("conv12", 512, 512, 14, 3, 1, 0.7954, 0.9588),
)


def _resnet(stages: Sequence[Sequence[Sequence[float]]]) -> tuple[Row, ...]:
    """The rows of a ResNet whose blocks have two convolutions or, as bottlenecks, three.

    Arguments:
        stages: zeros of every convolution's input, block by block. A downsampling reads what the
            first convolution of its block reads.
    """
    rows: list[Row] = []
    channels, side = 64, 56
    for stage, blocks in enumerate(stages):
        width = 64 << stage
        for index, zeros in enumerate(blocks):
            name, stride = f"layer{stage + 1}.{index}", 2 if stage and not index else 1
            convolutions = (  # output channels, kernel, stride
                ((width, 3, stride), (width, 3, 1))
                if len(zeros) == 2
                else ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1))
            )
            before = channels, side
            for number, (convolution, part) in enumerate(zip(convolutions, zeros, strict=True), 1):
                outputs, kernel, step = convolution
                rows.append(
                    (f"{name}.conv{number}", channels, outputs, side, kernel, step, part, 0.0)
                )
                channels, side = outputs, side // step
            if before[0] != channels:
                rows.append(
                    (f"{name}.downsample", before[0], channels, before[1], 1, stride, zeros[0], 0.0)
                )
    return tuple(rows)


RESNET34 = _resnet(
    (
        ((0.1762, 0.4815), (0.1523, 0.5127), (0.1785, 0.691)),
        ((0.1946, 0.6279), (0.4345, 0.7827), (0.4133, 0.8556), (0.4341, 0.8833)),
        (
            (0.4507, 0.6732),
            (0.5183, 0.8482),
            (0.4629, 0.8917),
            (0.4332, 0.8955),
            (0.4418, 0.8826),
            (0.5041, 0.8704),
        ),
        ((0.5809, 0.7979), (0.7672, 0.874), (0.8024, 0.8254)),
    )
)
RESNET50 = _resnet(
    (
        ((0.2153, 0.487, 0.3992), (0.4862, 0.4797, 0.4825), (0.341, 0.5401, 0.5423)),
        (
            (0.3862, 0.652, 0.4412),
            (0.5122, 0.5127, 0.6095),
            (0.4736, 0.5467, 0.6685),
            (0.5428, 0.6555, 0.768),
        ),
        (
            (0.5357, 0.714, 0.4235),
            (0.5619, 0.5635, 0.7197),
            (0.5232, 0.6933, 0.7432),
            (0.5529, 0.7439, 0.7827),
            (0.5705, 0.7722, 0.7695),
            (0.6036, 0.7467, 0.7678),
        ),
        ((0.6397, 0.7954, 0.5954), (0.7392, 0.7553, 0.8309), (0.8253, 0.8227, 0.7434)),
    )
)

# Zeros of the last block's output, which no convolution reads.
RESNET50_OUTPUT = 0.8568
