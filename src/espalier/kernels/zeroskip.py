"""A stand-in for the native zero-skip kernels: the references, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.kernels import reference


def nonzero_mask(x: Any, *, threads: int | None = None) -> NDArray[np.uint64]:
    """One bit for each entry that is not zero."""
    channels = x.shape[-1]
    bits = np.packbits((x != 0).reshape(-1, channels), axis=1, bitorder="little")
    words = np.zeros((len(bits), -(-channels // 64) * 8), np.uint8)
    words[:, : bits.shape[1]] = bits
    return words.view(np.uint64)


def count_nonzero(mask: Any) -> int:
    """Bits that are set."""
    return int(np.bitwise_count(mask).sum())


def relu_forward(x: Any, *, threads: int | None = None) -> tuple[Any, NDArray[np.uint64]]:
    """ReLU and the mask of its output."""
    y = np.where(x > 0, x, np.where(np.isnan(x), x, np.float32(0)))
    return y, nonzero_mask(y)


def relu_backward(dy: Any, mask: Any, *, threads: int | None = None) -> Any:
    """The gradient where the bit is set, else 0."""
    return np.where(reference._bits(mask, dy.shape), dy, np.float32(0))


def zeroskip_forward(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
    threads: int | None = None,
) -> Any:
    y = reference.zeroskip_forward(x, weight, bias, stride=stride, padding=padding)
    return y.astype(np.float32)


def zeroskip_backward_input(
    dy: Any,
    weight: Any,
    input_size: Any = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
    needed: Any = None,
    threads: int | None = None,
) -> Any:
    dx = reference.zeroskip_backward_input(
        dy, weight, input_size or (1, 1), stride=stride, padding=padding, needed=needed
    )
    return dx.astype(np.float32)


def zeroskip_backward_weight(
    x: Any,
    dy: Any,
    kernel_size: Any = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    mask: Any = None,
    dy_mask: Any = None,
    skip: str = "input",
    threads: int | None = None,
) -> Any:
    dw = reference.zeroskip_backward_weight(
        x, dy, kernel_size or (1, 1), stride=stride, padding=padding, skip=skip
    )
    return dw.astype(np.float32)
