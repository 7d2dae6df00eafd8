"""The product of a sparse layer: by our kernels where they take the tensors, else by PyTorch.

The output of the kernels is ``[batch, outputs]`` with the samples side by side in memory (strides
``(1, batch)``), as channels-last images are: element-wise operations keep that layout, so that in
a chain of sparse layers only the first input and the last gradient are ever turned.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from espalier.cuda.pattern import DevicePattern
from espalier.kernels import Pattern
from espalier.nn.sparse import cuda as cuda_product
from espalier.nn.sparse.pattern_cache import PatternCache
from espalier.nn.torch_tools import is_supported

_library = torch.library.Library("espalier", "FRAGMENT")
_library.define(
    "sparse_linear(Tensor x, Tensor values, Tensor? bias, Tensor row_offsets,"
    " Tensor column_indices, int handle) -> Tensor"
)
_library.define(
    "sparse_linear_backward(Tensor dy, Tensor x, Tensor values, Tensor row_offsets,"
    " Tensor column_indices, int handle, bool[3] wanted) -> (Tensor, Tensor, Tensor)"
)


def dense_weight(
    values: Tensor, row_offsets: Tensor, column_indices: Tensor, columns: int
) -> Tensor:
    """The weights ``[rows, columns]`` with their zeros, differentiable by values."""
    counts, rows = row_offsets.diff(), row_offsets.shape[0] - 1
    row = torch.repeat_interleave(counts, output_size=column_indices.shape[0])
    zeros = values.new_zeros(rows * columns)
    return zeros.scatter(0, row * columns + column_indices, values).view(rows, columns)


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
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The wanted gradients by x, values and bias by PyTorch's operators alone."""
    by_x, by_values, by_bias = wanted
    counts = row_offsets.diff()
    row = torch.repeat_interleave(counts, output_size=column_indices.shape[0])
    weight = dense_weight(values, row_offsets, column_indices, x.shape[-1]) if by_x else None
    flat = row * x.shape[-1] + column_indices
    return (
        dy @ weight if weight is not None else None,
        (dy.t() @ x).reshape(-1).gather(0, flat) if by_values else None,
        dy.sum(0) if by_bias else None,
    )


def apply(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    pattern: Pattern | DevicePattern,
    *tensors: Tensor,
) -> Any:
    """The output ``[batch, outputs]`` by our kernels, in eager mode; all tensors are plain."""
    if torch.is_grad_enabled() and (
        x.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _SparseLinear.apply(x, values, bias, pattern, *tensors)  # type: ignore[no-untyped-call]
    return _forward(x, values, bias, pattern)


def _forward(
    x: Tensor, values: Tensor, bias: Tensor | None, pattern: Pattern | DevicePattern
) -> Tensor:
    if isinstance(pattern, DevicePattern):
        return cuda_product.forward(x, values, bias, pattern)
    y = _by_feature(x, x.shape[0], pattern.shape[0])
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
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if isinstance(pattern, DevicePattern):
        return cuda_product.backward(dy, x, values, pattern, wanted)
    dx = _like(x) if wanted[0] else None
    _, dvalues, dbias = pattern.backward(
        values.detach().numpy(),
        x.detach().numpy(),
        dy.detach().numpy(),
        needs_input_grad=wanted,
        dx=None if dx is None else dx.numpy(),
        threads=torch.get_num_threads(),
    )
    return (
        dx,
        None if dvalues is None else torch.from_numpy(dvalues),
        None if dbias is None else torch.from_numpy(dbias),
    )


def _by_feature(like: Tensor, batch: Any, features: Any) -> Tensor:
    return like.new_empty_strided((batch, features), (1, batch))


def _like(x: Tensor) -> Tensor:
    """Empty, in the layout of x if that is one of the two a batch has."""
    if x.stride(0) == 1 and x.shape[1] > 1:
        return _by_feature(x, *x.shape)
    return x.new_empty(x.shape)


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
        wanted = ctx.needs_input_grad[:3]
        ours = is_supported(dy) or cuda_product.is_plain_cuda(dy, values)
        if torch.is_grad_enabled() or not ours:
            # The gradient's own gradient, or one that is transformed, is PyTorch's.
            return *dense_backward(dy, x, values, row_offsets, column_indices, wanted), *rest
        return *_backward(dy, x, values, ctx.pattern, wanted), *rest


def _operator_forward(
    x: Tensor,
    values: Tensor,
    bias: Tensor | None,
    row_offsets: Tensor,
    column_indices: Tensor,
    handle: int,
) -> Tensor:
    if not is_supported(x, values, bias):
        y = _by_feature(x, x.shape[0], row_offsets.shape[0] - 1)
        return y.copy_(dense_forward(x, values, bias, row_offsets, column_indices))
    pattern = PatternCache.of(handle).get(row_offsets, column_indices, x.shape[1])
    return _forward(x, values, bias, pattern)


def _operator_backward(
    dy: Tensor,
    x: Tensor,
    values: Tensor,
    row_offsets: Tensor,
    column_indices: Tensor,
    handle: int,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    asked = wanted[0], wanted[1], wanted[2]
    if is_supported(dy, x, values):
        pattern = PatternCache.of(handle).get(row_offsets, column_indices, x.shape[1])
        gradients = _backward(dy, x, values, pattern, asked)
    else:
        gradients = dense_backward(dy, x, values, row_offsets, column_indices, asked)
    dx, *others = (dy.new_empty(0) if each is None else each for each in gradients)
    return (_like(x).copy_(dx) if asked[0] else dx), *others


def _fake_forward(x: Tensor, values: Tensor, bias: Any, row_offsets: Tensor, *rest: Any) -> Tensor:
    return _by_feature(x, x.shape[0], row_offsets.shape[0] - 1)


def _fake_backward(
    dy: Tensor, x: Tensor, values: Tensor, row_offsets: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    by_x, by_values, by_bias = rest[-1]
    nothing = dy.new_empty(0)
    return (
        _like(x) if by_x else nothing,
        torch.empty_like(values) if by_values else dy.new_empty(0),
        values.new_empty(row_offsets.shape[0] - 1) if by_bias else dy.new_empty(0),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, values, _, row_offsets, column_indices, ctx.handle = inputs
    ctx.save_for_backward(x, values, row_offsets, column_indices)


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    wanted = ctx.needs_input_grad[:3]
    x, values, *pattern = ctx.saved_tensors
    if torch.is_grad_enabled():  # for the gradient of the gradient
        return *dense_backward(dy, x, values, pattern[0], pattern[1], wanted), None, None, None
    operator = torch.ops.espalier.sparse_linear_backward
    gradients = operator(dy, x, values, *pattern, ctx.handle, wanted)
    kept = (each if asked else None for each, asked in zip(gradients, wanted, strict=True))
    return *kept, None, None, None


_library.impl("sparse_linear", _operator_forward, "CPU")
_library.impl("sparse_linear_backward", _operator_backward, "CPU")
torch.library.register_fake("espalier::sparse_linear", _fake_forward, lib=_library)
torch.library.register_fake("espalier::sparse_linear_backward", _fake_backward, lib=_library)
torch.library.register_autograd(
    "espalier::sparse_linear", _differentiate, setup_context=_remember, lib=_library
)
