"""The three passes of a layer as calls without arguments: PyTorch's dense ones and zero-skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.sparsetrain.operands import Array, Operands
from benchmarks.sparsetrain.shapes import LayerShape, Pass, Variant
from espalier.kernels import zeroskip

if TYPE_CHECKING:
    import torch

Work = Callable[[], Any]


def dense_pass(shape: LayerShape, name: Pass, operands: Operands) -> Work:
    """One pass by PyTorch: oneDNN's convolution on channels-last tensors, or a matrix product."""
    import torch

    x, weight, dy = map(_as_tensor, operands)
    if shape.kernel is None:
        return {
            "FWD": lambda: torch.mm(x, weight.T),
            "BWI": lambda: torch.mm(dy, weight),
            "BWW": lambda: torch.mm(dy.T, x),
        }[name]
    stride, padding = [shape.stride] * 2, [shape.padding] * 2
    convolution = (stride, padding, [1, 1], False, [0, 0], 1)
    aten = torch.ops.aten
    if name == "FWD":
        return lambda: aten.convolution(x, weight, None, *convolution)
    wanted = [name == "BWI", name == "BWW", False]
    return lambda: aten.convolution_backward(dy, x, weight, None, *convolution, wanted)


def zeroskip_pass(
    shape: LayerShape, name: Pass, variant: Variant, operands: Operands, threads: int
) -> Work:
    """One pass by espalier, with the masks a training step makes in that pass.

    The mask of the input is made in FWD, that of the gradient in BWI; later passes reuse them.

    Arguments:
        variant: one of `variants` of this pass.
    """
    x, weight, dy = operands
    geometry: dict[str, Any] = {
        "stride": (shape.stride, shape.stride),
        "padding": (shape.padding, shape.padding),
        "threads": threads,
    }
    if name == "FWD":
        return lambda: zeroskip.zeroskip_forward(x, weight, **geometry)
    if name == "BWW":
        kernel = (shape.kernel or 1,) * 2
        skip: Any = variant
        reused: dict[str, Any] = (
            {"mask": zeroskip.nonzero_mask(x)}
            if variant == "input"
            else {"dy_mask": zeroskip.nonzero_mask(dy)}
        )
        return lambda: zeroskip.zeroskip_backward_weight(
            x, dy, kernel, skip=skip, **reused, **geometry
        )
    side = (shape.side, shape.side)
    if variant == "gradient":
        return lambda: zeroskip.zeroskip_backward_input(dy, weight, side, **geometry)
    needed = zeroskip.nonzero_mask(x)
    return lambda: zeroskip.zeroskip_backward_input(dy, weight, side, needed=needed, **geometry)


def as_array(shape: LayerShape, name: Pass, result: Any) -> Array:
    """What a dense pass returned, in the layout of the zero-skip kernels."""
    if isinstance(result, tuple):
        result = result[("BWI", "BWW").index(name)]
    if shape.kernel is not None:
        result = result.permute(0, 2, 3, 1)
    return np.asarray(result.numpy())


def _as_tensor(array: Array) -> torch.Tensor:
    """Images become NCHW tensors in channels-last memory."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor
