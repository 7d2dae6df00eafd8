"""Convolutions and linear layers that skip the zeros of activations or gradients.

The three passes of training of "SparseTrain: Leveraging Dynamic Sparsity in Training DNNs on
General-Purpose SIMD Processors" (Gong et al., PACT 2020), over plain dense arrays. Images are
``[images, height, width, channels]``; a two-dimensional array ``[rows, features]`` is a linear
layer. All arrays are float32 and C-contiguous; weights may have any strides.

A mask says where an array is not zero: uint64 ``[rows, ceil(channels / 64)]``, one row for each
pixel; bit ``c % 64`` of word ``c // 64`` belongs to channel ``c``. A NaN is not zero, -0.0 is.

A zero that is skipped adds nothing, even where it would meet an infinity or a NaN; a dense
convolution gives NaN there. In all else results differ from the dense ones by the order of
summation alone, and they are the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError
from espalier.kernels.threads import thread_count

Floats = NDArray[np.float32]
Mask = NDArray[np.uint64]
Pair = tuple[int, int]
WORD = 64


def nonzero_mask(x: Floats, *, threads: int | None = None) -> Mask:
    """Where an array is not zero.

    Arguments:
        x: ``[..., channels]``, of which all but the last dimension are rows of the mask.

    >>> nonzero_mask(np.array([[0.0, 2.0, 3.0]], np.float32))
    array([[6]], dtype=uint64)
    """
    rows = _rows(x, "x")
    mask = _new_mask(rows)
    _native.nonzero_mask(rows, mask, thread_count(threads))
    return mask


def count_nonzero(mask: Mask) -> int:
    """Bits set in a mask.

    >>> count_nonzero(np.array([[6]], np.uint64))
    2
    """
    return int(_native.count_nonzero(mask))


def relu_forward(x: Floats, *, threads: int | None = None) -> tuple[Floats, Mask]:
    """``max(x, 0)`` and its mask, in one pass over memory; a NaN stays a NaN.

    >>> relu_forward(np.array([[-1.0, 2.0]], np.float32))
    (array([[0., 2.]], dtype=float32), array([[2]], dtype=uint64))
    """
    rows = _rows(x, "x")
    y, mask = np.empty_like(x), _new_mask(rows)
    _native.relu_forward(rows, y.reshape(rows.shape), mask, thread_count(threads))
    return y, mask


def relu_backward(dy: Floats, mask: Mask, *, threads: int | None = None) -> Floats:
    """``dy`` where the bit of the mask is set, else 0.

    >>> relu_backward(np.array([[5.0, 5.0]], np.float32), np.array([[2]], np.uint64))
    array([[0., 5.]], dtype=float32)
    """
    rows = _rows(dy, "dy")
    dx = np.empty_like(dy)
    checked = _check_mask(mask, rows, "mask")
    _native.relu_backward(rows, checked, dx.reshape(rows.shape), thread_count(threads))
    return dx


def zeroskip_forward(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    mask: Mask | None = None,
    threads: int | None = None,
) -> Floats:
    """Output of a convolution or a linear layer, skipping the zeros of its input.

    Arguments:
        x: ``[images, height, width, channels]``, or ``[rows, features]``.
        weight: ``[filters, kernel_h, kernel_w, channels]``, or ``[outputs, features]``; packing it
            is fastest where channels are contiguous.
        bias: ``[filters]``.
        mask: of ``x``; made here when not given.

    Returns:
        ``[images, out_height, out_width, filters]``, or ``[rows, outputs]``.

    Raises:
        InputError: shapes that do not fit each other, or a wrong dtype or layout.

    >>> zeroskip_forward(np.array([[0.0, 2.0]], np.float32), np.array([[9.0, 3.0]], np.float32))
    array([[6.]], dtype=float32)
    """
    images, taps = _images(x, "x"), _taps(weight, x.ndim)
    geometry = _geometry(images.shape, taps.shape, stride, padding, x.ndim)
    mask = _mask_of(images, mask, "mask", threads)
    y = np.empty(geometry.output, np.float32)
    _native.zeroskip_forward(
        images,
        mask,
        taps,
        _check_bias(bias, taps),
        geometry.stride,
        geometry.padding,
        y,
        thread_count(threads),
    )
    return y if x.ndim == 4 else y.reshape(len(x), len(weight))


def zeroskip_backward_input(
    dy: Floats,
    weight: Floats,
    input_size: Pair | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    mask: Mask | None = None,
    needed: Mask | None = None,
    threads: int | None = None,
) -> Floats:
    """Gradient of the input, skipping zeros of ``dy`` or entries that are not needed.

    Arguments:
        dy: gradient of the output, as `zeroskip_forward` shapes it.
        weight: as in `zeroskip_forward`.
        input_size: height and width of the input; a linear layer has none.
        mask: of ``dy``; made here when neither mask is given.
        needed: where the gradient is wanted, a mask of the layer's input: all other entries are
            0. Where the input came out of a ReLU, its own mask says what that ReLU lets through,
            so this saves work even if ``dy`` has no zeros. Excludes ``mask``.

    Returns:
        ``[images, height, width, channels]``, or ``[rows, features]``.

    Raises:
        InputError: shapes that do not fit each other, or a wrong dtype or layout.

    >>> weight = np.array([[9.0, 3.0]], np.float32)
    >>> zeroskip_backward_input(np.array([[2.0]], np.float32), weight)
    array([[18.,  6.]], dtype=float32)
    >>> needed = np.array([[2]], np.uint64)
    >>> zeroskip_backward_input(np.array([[2.0]], np.float32), weight, needed=needed)
    array([[0., 6.]], dtype=float32)
    """
    if mask is not None and needed is not None:
        raise InputError("mask and needed are both given, wanted one: either skips its own zeros")
    gradient, taps = _images(dy, "dy"), _taps(weight, dy.ndim)
    height, width = (1, 1) if dy.ndim == 2 else _pair(input_size, "input_size", 0)
    input_shape = (len(gradient), height, width, taps.shape[3])
    geometry = _geometry(input_shape, taps.shape, stride, padding, dy.ndim)
    _check_gradient(gradient, geometry)
    dx = np.empty(input_shape, np.float32)
    if needed is None:
        bits = _mask_of(gradient, mask, "mask", threads)
    else:
        bits = _check_mask(needed, dx.reshape(-1, dx.shape[3]), "needed")
    _native.zeroskip_backward_input(
        gradient,
        bits,
        needed is not None,
        taps,
        geometry.stride,
        geometry.padding,
        dx,
        thread_count(threads),
    )
    return dx if dy.ndim == 4 else dx.reshape(len(dy), weight.shape[1])


def zeroskip_backward_weight(
    x: Floats,
    dy: Floats,
    kernel_size: Pair | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    mask: Mask | None = None,
    dy_mask: Mask | None = None,
    skip: Literal["input", "gradient"] = "input",
    threads: int | None = None,
) -> Floats:
    """Gradient of the weights, skipping the zeros of one of the two operands.

    Arguments:
        x: as in `zeroskip_forward`.
        dy: gradient of the output.
        kernel_size: height and width of the kernel; a linear layer has none.
        mask: of ``x``; made here when it is wanted and not given.
        dy_mask: of ``dy``; likewise.
        skip: whose zeros are skipped: best the operand that has more.

    Returns:
        ``[filters, kernel_h, kernel_w, channels]``, or ``[outputs, features]``.

    Raises:
        InputError: shapes that do not fit each other, or a wrong dtype or layout.

    >>> x, dy = np.array([[0.0, 2.0]], np.float32), np.array([[3.0]], np.float32)
    >>> zeroskip_backward_weight(x, dy)
    array([[0., 6.]], dtype=float32)
    """
    if skip not in ("input", "gradient"):
        raise InputError(f"skip is {skip!r}, wanted 'input' or 'gradient'")
    images, gradient = _images(x, "x"), _images(dy, "dy")
    height, width = (1, 1) if x.ndim == 2 else _pair(kernel_size, "kernel_size", 1)
    dw = np.empty((gradient.shape[3], height, width, images.shape[3]), np.float32)
    geometry = _geometry(images.shape, dw.shape, stride, padding, x.ndim)
    _check_gradient(gradient, geometry)
    if skip == "input":
        bits = _mask_of(images, mask, "mask", threads)
    else:
        bits = _mask_of(gradient, dy_mask, "dy_mask", threads)
    _native.zeroskip_backward_weight(
        images,
        gradient,
        bits,
        skip == "input",
        geometry.stride,
        geometry.padding,
        dw,
        thread_count(threads),
    )
    return dw if x.ndim == 4 else dw.reshape(len(dw), -1)


class _Geometry(NamedTuple):
    stride: Pair
    padding: Pair
    output: tuple[int, int, int, int]


def _geometry(
    images: tuple[int, ...], taps: tuple[int, ...], stride: Pair, padding: Pair, ndim: int
) -> _Geometry:
    if images[3] != taps[3]:
        raise InputError(f"x has {images[3]} channels, the weights want {taps[3]}")
    stride, padding = _pair(stride, "stride", 1), _pair(padding, "padding", 0)
    if ndim == 2 and (stride, padding) != ((1, 1), (0, 0)):
        raise InputError("a linear layer has neither stride nor padding")
    sizes = []
    for axis in (0, 1):
        room = images[1 + axis] + 2 * padding[axis] - taps[1 + axis]
        if room < 0:
            raise InputError(
                f"the kernel is {taps[1]} x {taps[2]}, larger than the padded input of "
                f"{images[1] + 2 * padding[0]} x {images[2] + 2 * padding[1]}"
            )
        sizes.append(room // stride[axis] + 1)
    return _Geometry(stride, padding, (images[0], sizes[0], sizes[1], taps[0]))


def _pair(value: Any, name: str, least: int) -> Pair:
    try:
        height, width = (int(number) for number in value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}, wanted two whole numbers") from None
    if min(height, width) < least or max(height, width) > 2**31 - 1:
        raise InputError(f"{name} is {value!r}, wanted two whole numbers of at least {least}")
    return height, width


def _floats(x: Any, name: str, *, contiguous: bool = True) -> Floats:
    if not isinstance(x, np.ndarray) or x.dtype != np.float32:
        came = f"of {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise InputError(f"{name} is {came}, wanted a numpy array of float32")
    if x.ndim not in (2, 4):
        raise InputError(f"{name} has {x.ndim} dimensions, wanted 4 (images) or 2 (rows)")
    if contiguous and not x.flags.c_contiguous:
        raise InputError(f"{name} is not C-contiguous; pass numpy.ascontiguousarray({name})")
    return x


def _images(x: Any, name: str) -> Floats:
    checked = _floats(x, name)
    return checked if checked.ndim == 4 else checked[:, None, None, :]


def _taps(weight: Any, ndim: int) -> Floats:
    checked = _floats(weight, "weight", contiguous=False)
    if checked.ndim != ndim:
        raise InputError(f"weight has {checked.ndim} dimensions, wanted {ndim} as the other array")
    return checked if ndim == 4 else checked[:, None, None, :]


def _rows(x: Any, name: str) -> Floats:
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim < 1 or not x.shape[-1]:
        raise InputError(f"{name} is {x!r:.60}, wanted a numpy array [..., channels] of float32")
    if not x.flags.c_contiguous:
        raise InputError(f"{name} is not C-contiguous; pass numpy.ascontiguousarray({name})")
    return x.reshape(-1, x.shape[-1])


def _new_mask(rows: Floats) -> Mask:
    return np.empty((len(rows), -(-rows.shape[1] // WORD)), np.uint64)


def _mask_of(images: Floats, mask: Mask | None, name: str, threads: int | None) -> Mask:
    if mask is None:
        return nonzero_mask(images, threads=threads)
    return _check_mask(mask, images.reshape(-1, images.shape[3]), name)


def _check_mask(mask: Any, rows: Floats, name: str) -> Mask:
    wanted = (len(rows), -(-rows.shape[1] // WORD))
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint64 or mask.shape != wanted:
        came = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else f"{mask!r:.40}"
        raise InputError(f"{name} is {came}, wanted a mask uint64 {wanted}: see nonzero_mask")
    return np.ascontiguousarray(mask)


def _check_bias(bias: Any, taps: Floats) -> Floats | None:
    if bias is None:
        return None
    if not isinstance(bias, np.ndarray) or bias.dtype != np.float32 or bias.shape != (len(taps),):
        raise InputError(f"bias is {bias!r:.60}, wanted a numpy array ({len(taps)},) of float32")
    return np.ascontiguousarray(bias)


def _check_gradient(gradient: Floats, geometry: _Geometry) -> None:
    if gradient.shape != geometry.output:
        raise InputError(
            f"dy has shape {gradient.shape}, but this layer's output is {geometry.output}"
        )
