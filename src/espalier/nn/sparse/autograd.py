"""The passes of a sparse layer: by our kernels where they take the tensors, else by PyTorch.

The output of the kernels is ``[batch, outputs]`` with the samples side by side in memory (strides
``(1, batch)``), as channels-last images are: element-wise operations keep that layout, so that in
a chain of sparse layers only the first input and the last gradient are ever transposed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from espalier.cuda.pattern import DevicePattern
from espalier.kernels import Pattern
from espalier.nn.custom_ops import Gradients, NeedsInputGrad, register, with_strides
from espalier.nn.sparse import cuda
from espalier.nn.sparse.pattern_cache import PatternCache
from espalier.nn.torch_tools import is_supported


def flat_indices(row_offsets: Tensor, column_indices: Tensor, columns: int) -> Tensor:
    """``row * columns + column`` of every connection, rising; int64."""
    counts = row_offsets.diff()
    rows = torch.repeat_interleave(counts, output_size=column_indices.shape[0])
    return rows * columns + column_indices


def dense_weight(
    values: Tensor, row_offsets: Tensor, column_indices: Tensor, columns: int
) -> Tensor:
    """The weights ``[rows, columns]`` with their zeros, differentiable by values."""
    rows = row_offsets.shape[0] - 1
    zeros = values.new_zeros(rows * columns)
    where = flat_indices(row_offsets, column_indices, columns)
    return zeros.scatter(0, where, values).view(rows, columns)


def dense_forward(
    x: Tensor, values: Tensor, bias: Tensor | None, row_offsets: Tensor, column_indices: Tensor
) -> Tensor:
    """The output by PyTorch's operators alone: any type, device and transformation."""
    weight = dense_weight(values, row_offsets, column_indices, x.shape[-1])
    return functional.linear(x, weight, bias)


def dense_backward(
    dy: Tensor,
    x: Tensor,
    values: Tensor,
    row_offsets: Tensor,
    column_indices: Tensor,
    needs_input_grad: NeedsInputGrad,
) -> Gradients:
    """The gradients by x, values and bias that are needed, by PyTorch's operators alone."""
    by_x, by_values, by_bias = needs_input_grad
    columns = x.shape[-1]
    weight = dense_weight(values, row_offsets, column_indices, columns) if by_x else None
    return (
        dy @ weight if weight is not None else None,
        (dy.t() @ x).reshape(-1).gather(0, flat_indices(row_offsets, column_indices, columns))
        if by_values
        else None,
        dy.sum(0) if by_bias else None,
    )


def apply(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    pattern: Pattern | DevicePattern,
    *tensors: Tensor,
) -> Any:
    """The output ``[batch, outputs]`` by our kernels, in eager mode; all tensors are supported."""
    if torch.is_grad_enabled() and (
        x.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _SparseLinear.apply(x, values, bias, pattern, *tensors)  # type: ignore[no-untyped-call]
    return _forward(x, values, bias, pattern)


def _forward(
    x: Tensor, values: Tensor, bias: Tensor | None, pattern: Pattern | DevicePattern
) -> Tensor:
    if isinstance(pattern, DevicePattern):
        return cuda.forward(x, values, bias, pattern)
    y = _empty_output(x, pattern.shape[0])
    pattern.spmm(
        values.detach().numpy(),
        x.detach().numpy(),
        None if bias is None else bias.detach().numpy(),
        out=y.numpy(),
        threads=torch.get_num_threads(),
    )
    return y


def _backward(
    dy: Tensor,
    x: Tensor,
    values: Tensor,
    pattern: Pattern | DevicePattern,
    needs_input_grad: NeedsInputGrad,
) -> Gradients:
    if isinstance(pattern, DevicePattern):
        return cuda.backward(dy, x, values, pattern, needs_input_grad)
    dx = _empty_like(x) if needs_input_grad[0] else None
    _, dvalues, dbias = pattern.backward(
        values.detach().numpy(),
        x.detach().numpy(),
        dy.detach().numpy(),
        needs_input_grad=needs_input_grad,
        dx=None if dx is None else dx.numpy(),
        threads=torch.get_num_threads(),
    )
    return (
        dx,
        None if dvalues is None else torch.from_numpy(dvalues),
        None if dbias is None else torch.from_numpy(dbias),
    )


def _empty_output(x: Tensor, outputs: Any) -> Tensor:
    return x.new_empty_strided((x.shape[0], outputs), (1, x.shape[0]))


def _empty_like(tensor: Tensor) -> Tensor:
    """Empty, in the layout of the tensor if that is one of the two a batch has."""
    if tensor.dim() == 2 and tensor.stride(0) == 1 and tensor.shape[1] > 1:
        return _empty_output(tensor, tensor.shape[1])
    return tensor.new_empty(tensor.shape)


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        values: Tensor,
        bias: Tensor | None,
        pattern: Pattern | DevicePattern,
        row_offsets: Tensor,
        column_indices: Tensor,
    ) -> Tensor:
        ctx.pattern = pattern
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, values, row_offsets, column_indices)
        return _forward(x, values, bias, pattern)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        rest = None, None, None
        if dy is None:
            return None, None, None, *rest
        x, values, row_offsets, column_indices = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or not (
            is_supported(dy) or cuda.is_supported_on_gpu(dy, values)
        ):
            # The gradient's own gradient, or one that is transformed, is PyTorch's.
            return *dense_backward(dy, x, values, row_offsets, column_indices, needed), *rest
        return *_backward(dy, x, values, ctx.pattern, needed), *rest


def _operator_forward(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    row_offsets: Tensor,
    column_indices: Tensor,
    handle: int,
) -> Tensor:
    if not is_supported(x, values, bias):
        y = dense_forward(x, values, bias, row_offsets, column_indices)
        return with_strides(y, _empty_output(x, y.shape[1]))
    return _forward(x, values, bias, _pattern(handle, row_offsets, column_indices, x))


def _fake_forward(x: Tensor, values: Tensor, bias: Any, row_offsets: Tensor, *rest: Any) -> Tensor:
    return _empty_output(x, row_offsets.shape[0] - 1)


def _operator_backward(
    dy: Tensor,
    x: Tensor,
    values: Tensor,
    row_offsets: Tensor,
    column_indices: Tensor,
    handle: int,
    needed: NeedsInputGrad,
) -> Gradients:
    if not is_supported(dy, x, values):
        return dense_backward(dy, x, values, row_offsets, column_indices, needed)
    return _backward(dy, x, values, _pattern(handle, row_offsets, column_indices, x), needed)


def _pattern(handle: int, row_offsets: Tensor, column_indices: Tensor, x: Tensor) -> Pattern:
    cache = PatternCache.of(handle) or PatternCache()  # the layer may be gone
    return cache.get(row_offsets, column_indices, x.shape[1])


register(
    "sparse_linear",
    "Tensor row_offsets, Tensor column_indices, ",
    forward=_operator_forward,
    fake_forward=_fake_forward,
    backward=_operator_backward,
    dense_backward=dense_backward,
    empty_like=_empty_like,
)
