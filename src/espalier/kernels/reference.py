"""What every kernel must compute, in float64 and as plainly as it can be said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.network import Layer, Network


def spmm(layer: Layer, x: Any) -> NDArray[np.float64]:
    """One layer over samples: ``clamp(x @ weights.T + bias)``.

    Arguments:
        x: ``[samples, inputs]``, numpy or scipy sparse.

    Returns:
        float64 ``[samples, outputs]``.

    >>> spmm(Layer([[1.0, 2.0], [0.0, 1.0]], bias=-1.0, clip=4.0), [[1.0, 3.0]]).tolist()
    [[4.0, 2.0]]
    """
    dense = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
    result = np.zeros((len(dense), layer.outputs))
    for output in range(layer.outputs):
        begin, end = layer.row_offsets[output : output + 2]
        columns = layer.column_indices[begin:end]
        weights = layer.values[begin:end].astype(np.float64)
        result[:, output] = dense[:, columns] @ weights + layer.bias[output]
    return activate(layer, result)


def activate(layer: Layer, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The layer's activation and clip."""
    if layer.activation == "relu":
        sums = np.maximum(sums, 0.0)
    return sums if layer.clip is None else np.minimum(sums, layer.clip)


def infer(network: Network, x: Any) -> NDArray[np.float64]:
    """All layers in turn: float64 ``[samples, outputs]``."""
    for layer in network:
        x = spmm(layer, x)
    return np.asarray(x, dtype=np.float64)


def tolerance(network: Network, x: Any) -> float:
    """Largest difference that float32 and another order of summation explain.

    The error of one sum is at most ``(k + 2) u (|w| |x| + |b|)`` for ``k`` weights and the unit
    roundoff ``u`` (Higham, Accuracy and Stability, section 3.1); it reaches the next layer through
    ``|w|``, and neither ReLU nor clipping enlarges it.
    """
    unit = 2.0**-24
    values = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
    error = np.zeros_like(values)
    for layer in network:
        weights = sp.csr_array(
            (np.abs(layer.values.astype(np.float64)), layer.column_indices, layer.row_offsets),
            shape=layer.weights.shape,
        )
        through = (weights @ error.T).T
        sizes = (weights @ np.abs(values).T).T + np.abs(layer.bias) + through
        error = through + (np.diff(layer.row_offsets) + 2) * unit * sizes
        values = spmm(layer, values)
    return 4.0 * float(error.max(initial=0.0))


def dense_weights(
    row_offsets: Any, column_indices: Any, values: Any, columns: int
) -> NDArray[np.float64]:
    """The weights ``[rows, columns]`` of a pattern with their zeros.

    >>> dense_weights([0, 1, 3], [1, 0, 1], [2.0, 3.0, 4.0], columns=2).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    weights = np.zeros((len(row_offsets) - 1, columns))
    for row in range(len(weights)):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            weights[row, column_indices[entry]] = values[entry]
    return weights


def linear(weights: NDArray[np.float64], x: Any, bias: Any = None) -> NDArray[np.float64]:
    """``x @ weights.T + bias``: the forward pass of a sparse layer that is trained."""
    y: NDArray[np.float64] = np.asarray(x, np.float64) @ weights.T
    return y if bias is None else y + np.asarray(bias, np.float64)


def spmm_transposed(weights: NDArray[np.float64], dy: Any) -> NDArray[np.float64]:
    """``dy @ weights``: the gradient of `linear` by its input."""
    dx: NDArray[np.float64] = np.asarray(dy, np.float64) @ weights
    return dx


def sddmm(row_offsets: Any, column_indices: Any, dy: Any, x: Any) -> NDArray[np.float64]:
    """For each entry, the dot product over the batch of its row of ``dy`` and its column of x."""
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    gradient = np.zeros(len(column_indices))
    for row in range(len(row_offsets) - 1):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            gradient[entry] = dy[:, row] @ x[:, column_indices[entry]]
    return gradient


def zeroskip_forward(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
) -> NDArray[np.float64]:
    """A convolution or a linear layer in which a zero of `x` contributes nothing.

    Arguments:
        x: ``[images, height, width, channels]``, or ``[rows, features]`` of a linear layer.
        weight: ``[filters, kernel height, kernel width, channels]``, or ``[outputs, features]``.
        bias: ``[filters]``, or None.
        mask: the mask of `x`, as the kernel takes it; it holds nothing that `x` does not say.

    Returns:
        float64 ``[images, output height, output width, filters]``, or ``[rows, outputs]``.

    >>> zeroskip_forward([[0.0, 2.0]], [[np.inf, 3.0]], [1.0]).tolist()
    [[7.0]]
    """
    images, filters = _as_images(x), _as_images(weight)
    sizes = images.shape[1:3], filters.shape[1:3], stride, padding
    height, width = (_outputs(*axis) for axis in zip(*sizes, strict=True))
    y = np.zeros((len(images), height, width, len(filters)))
    for tap, outputs, inputs in _taps(*sizes):
        y[outputs] += _skip_zeros(images[inputs], filters[tap].T)
    y += 0.0 if bias is None else np.asarray(bias, np.float64)
    return y if np.ndim(x) == 4 else y.reshape(len(images), len(filters))


def zeroskip_backward_input(
    dy: Any,
    weight: Any,
    input_size: tuple[int, int] = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
    needed: Any = None,
) -> NDArray[np.float64]:
    """The gradient of `zeroskip_forward` by its input.

    Arguments:
        dy: the gradient of the output, shaped as the output.
        input_size: height and width of the input; a linear layer has none.
        mask: the mask of `dy`; it holds nothing that `dy` does not say.
        needed: bits of the entries wanted, all others are 0; then no zero of `dy` is skipped.

    Returns:
        float64, shaped as the input.
    """
    gradient, filters = _as_images(dy), _as_images(weight)
    dx = np.zeros((len(gradient), *input_size, filters.shape[3]))
    with np.errstate(invalid="ignore"):
        for tap, outputs, inputs in _taps(input_size, filters.shape[1:3], stride, padding):
            rows = gradient[outputs]
            dx[inputs] += _skip_zeros(rows, filters[tap]) if needed is None else rows @ filters[tap]
    if needed is not None:
        dx = np.where(_bits(needed, dx.shape), dx, 0.0)
    return dx if np.ndim(dy) == 4 else dx.reshape(len(gradient), -1)


def zeroskip_backward_weight(
    x: Any,
    dy: Any,
    kernel_size: tuple[int, int] = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
    dy_mask: Any = None,
    skip: str = "input",
) -> NDArray[np.float64]:
    """The gradient of `zeroskip_forward` by its weight.

    Arguments:
        mask, dy_mask: the masks of `x` and `dy`; they hold nothing that those do not say.
        skip: whose zeros contribute nothing, ``"input"`` or ``"gradient"``.

    Returns:
        float64, shaped as the weight.
    """
    images, gradient = _as_images(x), _as_images(dy)
    channels, filters = images.shape[3], gradient.shape[3]
    dw = np.zeros((filters, *kernel_size, channels))
    for tap, outputs, inputs in _taps(images.shape[1:3], kernel_size, stride, padding):
        rows = gradient[outputs].reshape(-1, filters)
        met = images[inputs].reshape(-1, channels)
        by_gradient = skip == "gradient"
        dw[tap] += _skip_zeros(rows.T, met) if by_gradient else _skip_zeros(met.T, rows).T
    return dw if np.ndim(x) == 4 else dw.reshape(filters, channels)


def _as_images(x: Any) -> NDArray[np.float64]:
    """Images as they are; the rows of a matrix as images of one pixel."""
    array = np.asarray(x, np.float64)
    return array if array.ndim == 4 else array[:, None, None, :]


def _outputs(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _taps(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """Every tap of a kernel, the outputs it reaches, and the inputs it meets there."""
    every = slice(None)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            vertical, horizontal = (
                _overlap(tap, size[axis], kernel[axis], stride[axis], padding[axis])
                for axis, tap in enumerate((row, column))
            )
            outputs, inputs = zip(vertical, horizontal, strict=True)
            yield (every, row, column), (every, *outputs), (every, *inputs)


def _overlap(tap: int, size: int, kernel: int, stride: int, padding: int) -> tuple[slice, slice]:
    """On one axis, the outputs for which a tap lies inside the input, and where it lies."""
    offset = tap - padding
    first = max(0, -(offset // stride))
    last = min(_outputs(size, kernel, stride, padding), (size - 1 - offset) // stride + 1)
    if last <= first:
        return slice(0), slice(0)
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


def _skip_zeros(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """``left @ right``; a zero of `left` contributes nothing, even against infinity or NaN."""
    with np.errstate(invalid="ignore"):
        if np.isfinite(right).all():
            return left @ right
        rows = left.reshape(-1, len(right))
        sums = [(row[row != 0, None] * right[row != 0]).sum(axis=0) for row in rows]
    return np.reshape(sums, (*left.shape[:-1], right.shape[1]))


def _bits(mask: NDArray[np.uint64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask, ``[rows, words]``, spread out to one boolean for each entry."""
    octets = mask.astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, bitorder="little")[:, : shape[-1]]
    return bits.astype(np.bool_).reshape(shape)
