"""Zeros measured by the authors of SparseTrain while training on ImageNet.

Means over the training, of every convolution but the first. A row: name, input channels, output
channels, side of the square input, side of the kernel, stride, zeros of the input, zeros of the
gradient of the output. Padding is half a kernel. Where a batch norm follows, that gradient is dense.

Source: layer_sparsity_in_time_{vgg,resnet34,resnet50}.xlsx of the repository
andygongyb/SparseTrainTests, commit 9e34e4f; the sheets count zeros of activations. For VGG16 the
zeros of a gradient are those of the ReLU, or 1 - (1 - zeros of the pool) / 4 where a 2x2 max-pool
follows: one of four positions gets a gradient.
"""

from __future__ import annotations

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
RESNET34: tuple[Row, ...] = (
    ("layer1.0.conv1", 64, 64, 56, 3, 1, 0.1762, 0.0),
    ("layer1.0.conv2", 64, 64, 56, 3, 1, 0.4815, 0.0),
    ("layer1.1.conv1", 64, 64, 56, 3, 1, 0.1523, 0.0),
    ("layer1.1.conv2", 64, 64, 56, 3, 1, 0.5127, 0.0),
    ("layer1.2.conv1", 64, 64, 56, 3, 1, 0.1785, 0.0),
    ("layer1.2.conv2", 64, 64, 56, 3, 1, 0.691, 0.0),
    ("layer2.0.conv1", 64, 128, 56, 3, 2, 0.1946, 0.0),
    ("layer2.0.conv2", 128, 128, 28, 3, 1, 0.6279, 0.0),
    ("layer2.0.downsample", 64, 128, 56, 1, 2, 0.1946, 0.0),
    ("layer2.1.conv1", 128, 128, 28, 3, 1, 0.4345, 0.0),
    ("layer2.1.conv2", 128, 128, 28, 3, 1, 0.7827, 0.0),
    ("layer2.2.conv1", 128, 128, 28, 3, 1, 0.4133, 0.0),
    ("layer2.2.conv2", 128, 128, 28, 3, 1, 0.8556, 0.0),
    ("layer2.3.conv1", 128, 128, 28, 3, 1, 0.4341, 0.0),
    ("layer2.3.conv2", 128, 128, 28, 3, 1, 0.8833, 0.0),
    ("layer3.0.conv1", 128, 256, 28, 3, 2, 0.4507, 0.0),
    ("layer3.0.conv2", 256, 256, 14, 3, 1, 0.6732, 0.0),
    ("layer3.0.downsample", 128, 256, 28, 1, 2, 0.4507, 0.0),
    ("layer3.1.conv1", 256, 256, 14, 3, 1, 0.5183, 0.0),
    ("layer3.1.conv2", 256, 256, 14, 3, 1, 0.8482, 0.0),
    ("layer3.2.conv1", 256, 256, 14, 3, 1, 0.4629, 0.0),
    ("layer3.2.conv2", 256, 256, 14, 3, 1, 0.8917, 0.0),
    ("layer3.3.conv1", 256, 256, 14, 3, 1, 0.4332, 0.0),
    ("layer3.3.conv2", 256, 256, 14, 3, 1, 0.8955, 0.0),
    ("layer3.4.conv1", 256, 256, 14, 3, 1, 0.4418, 0.0),
    ("layer3.4.conv2", 256, 256, 14, 3, 1, 0.8826, 0.0),
    ("layer3.5.conv1", 256, 256, 14, 3, 1, 0.5041, 0.0),
    ("layer3.5.conv2", 256, 256, 14, 3, 1, 0.8704, 0.0),
    ("layer4.0.conv1", 256, 512, 14, 3, 2, 0.5809, 0.0),
    ("layer4.0.conv2", 512, 512, 7, 3, 1, 0.7979, 0.0),
    ("layer4.0.downsample", 256, 512, 14, 1, 2, 0.5809, 0.0),
    ("layer4.1.conv1", 512, 512, 7, 3, 1, 0.7672, 0.0),
    ("layer4.1.conv2", 512, 512, 7, 3, 1, 0.874, 0.0),
    ("layer4.2.conv1", 512, 512, 7, 3, 1, 0.8024, 0.0),
    ("layer4.2.conv2", 512, 512, 7, 3, 1, 0.8254, 0.0),
)
RESNET50: tuple[Row, ...] = (
    ("layer1.0.conv1", 64, 64, 56, 1, 1, 0.2153, 0.0),
    ("layer1.0.conv2", 64, 64, 56, 3, 1, 0.487, 0.0),
    ("layer1.0.conv3", 64, 256, 56, 1, 1, 0.3992, 0.0),
    ("layer1.0.downsample", 64, 256, 56, 1, 1, 0.2153, 0.0),
    ("layer1.1.conv1", 256, 64, 56, 1, 1, 0.4862, 0.0),
    ("layer1.1.conv2", 64, 64, 56, 3, 1, 0.4797, 0.0),
    ("layer1.1.conv3", 64, 256, 56, 1, 1, 0.4825, 0.0),
    ("layer1.2.conv1", 256, 64, 56, 1, 1, 0.341, 0.0),
    ("layer1.2.conv2", 64, 64, 56, 3, 1, 0.5401, 0.0),
    ("layer1.2.conv3", 64, 256, 56, 1, 1, 0.5423, 0.0),
    ("layer2.0.conv1", 256, 128, 56, 1, 1, 0.3862, 0.0),
    ("layer2.0.conv2", 128, 128, 56, 3, 2, 0.652, 0.0),
    ("layer2.0.conv3", 128, 512, 28, 1, 1, 0.4412, 0.0),
    ("layer2.0.downsample", 256, 512, 56, 1, 2, 0.3862, 0.0),
    ("layer2.1.conv1", 512, 128, 28, 1, 1, 0.5122, 0.0),
    ("layer2.1.conv2", 128, 128, 28, 3, 1, 0.5127, 0.0),
    ("layer2.1.conv3", 128, 512, 28, 1, 1, 0.6095, 0.0),
    ("layer2.2.conv1", 512, 128, 28, 1, 1, 0.4736, 0.0),
    ("layer2.2.conv2", 128, 128, 28, 3, 1, 0.5467, 0.0),
    ("layer2.2.conv3", 128, 512, 28, 1, 1, 0.6685, 0.0),
    ("layer2.3.conv1", 512, 128, 28, 1, 1, 0.5428, 0.0),
    ("layer2.3.conv2", 128, 128, 28, 3, 1, 0.6555, 0.0),
    ("layer2.3.conv3", 128, 512, 28, 1, 1, 0.768, 0.0),
    ("layer3.0.conv1", 512, 256, 28, 1, 1, 0.5357, 0.0),
    ("layer3.0.conv2", 256, 256, 28, 3, 2, 0.714, 0.0),
    ("layer3.0.conv3", 256, 1024, 14, 1, 1, 0.4235, 0.0),
    ("layer3.0.downsample", 512, 1024, 28, 1, 2, 0.5357, 0.0),
    ("layer3.1.conv1", 1024, 256, 14, 1, 1, 0.5619, 0.0),
    ("layer3.1.conv2", 256, 256, 14, 3, 1, 0.5635, 0.0),
    ("layer3.1.conv3", 256, 1024, 14, 1, 1, 0.7197, 0.0),
    ("layer3.2.conv1", 1024, 256, 14, 1, 1, 0.5232, 0.0),
    ("layer3.2.conv2", 256, 256, 14, 3, 1, 0.6933, 0.0),
    ("layer3.2.conv3", 256, 1024, 14, 1, 1, 0.7432, 0.0),
    ("layer3.3.conv1", 1024, 256, 14, 1, 1, 0.5529, 0.0),
    ("layer3.3.conv2", 256, 256, 14, 3, 1, 0.7439, 0.0),
    ("layer3.3.conv3", 256, 1024, 14, 1, 1, 0.7827, 0.0),
    ("layer3.4.conv1", 1024, 256, 14, 1, 1, 0.5705, 0.0),
    ("layer3.4.conv2", 256, 256, 14, 3, 1, 0.7722, 0.0),
    ("layer3.4.conv3", 256, 1024, 14, 1, 1, 0.7695, 0.0),
    ("layer3.5.conv1", 1024, 256, 14, 1, 1, 0.6036, 0.0),
    ("layer3.5.conv2", 256, 256, 14, 3, 1, 0.7467, 0.0),
    ("layer3.5.conv3", 256, 1024, 14, 1, 1, 0.7678, 0.0),
    ("layer4.0.conv1", 1024, 512, 14, 1, 1, 0.6397, 0.0),
    ("layer4.0.conv2", 512, 512, 14, 3, 2, 0.7954, 0.0),
    ("layer4.0.conv3", 512, 2048, 7, 1, 1, 0.5954, 0.0),
    ("layer4.0.downsample", 1024, 2048, 14, 1, 2, 0.6397, 0.0),
    ("layer4.1.conv1", 2048, 512, 7, 1, 1, 0.7392, 0.0),
    ("layer4.1.conv2", 512, 512, 7, 3, 1, 0.7553, 0.0),
    ("layer4.1.conv3", 512, 2048, 7, 1, 1, 0.8309, 0.0),
    ("layer4.2.conv1", 2048, 512, 7, 1, 1, 0.8253, 0.0),
    ("layer4.2.conv2", 512, 512, 7, 3, 1, 0.8227, 0.0),
    ("layer4.2.conv3", 512, 2048, 7, 1, 1, 0.7434, 0.0),
)

# Zeros of the last block's output, which no convolution reads.
RESNET50_OUTPUT = 0.8568
