"""The passes of a sparse layer on a GPU: our kernels on CUDA tensors, on torch's own stream."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.cuda import Device, open_device
from espalier.cuda.pattern import Batch, DevicePattern, DType
from espalier.errors import DeviceError
from espalier.nn.custom_ops import Gradients, NeedsInputGrad
from espalier.nn.torch_tools import is_supported

_DTYPES: dict[torch.dtype, DType] = {torch.float32: "f32", torch.bfloat16: "bf16"}


def operands(
    x: Tensor, values: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The operands as the kernels take them, under autocast in its type; None where they do not."""
    given = x, values, bias
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        given = x.to(dtype), values.to(dtype), None if bias is None else bias.to(dtype)
    return given if is_supported_on_gpu(*given) else None


def is_supported_on_gpu(tensor: Tensor, *parameters: Tensor | None) -> bool:
    """Whether all are ordinary tensors on a GPU, of one type that the kernels take."""
    return is_supported(tensor, *parameters, dtypes=tuple(_DTYPES), on_gpu=True)


def check_one_device(x: Tensor, values: Tensor) -> None:
    """Raise DeviceError where input and layer lie on different devices."""
    if x.device != values.device and "cuda" in (x.device.type, values.device.type):
        raise DeviceError(
            f"input lies on {x.device}, the layer on {values.device}; move one: "
            f"input.to({str(values.device)!r}) or layer.to({str(x.device)!r})"
        )


def device_of(tensor: Tensor) -> Device:
    """The GPU a tensor lies on."""
    return open_device(tensor.device.index or 0)


def forward(x: Tensor, values: Tensor, bias: Tensor | None, pattern: DevicePattern) -> Tensor:
    """The output ``[batch, outputs]``, samples side by side in memory."""
    x = _by_feature(x.detach())
    y = x.new_empty_strided((x.shape[0], pattern.shape[0]), (1, max(x.shape[0], 1)))
    # Copies, if these are any, must live until the kernel is on the stream.
    values = values.detach().contiguous()
    bias = None if bias is None else bias.detach().contiguous()
    pattern.spmm(
        values.data_ptr(),
        _batch(x),
        None if bias is None else bias.data_ptr(),
        _batch(y),
        _DTYPES[x.dtype],
        _stream(x),
    )
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    values: Tensor,
    pattern: DevicePattern,
    needs_input_grad: NeedsInputGrad,
) -> Gradients:
    """The gradients by x, values and bias that are needed."""
    by_x, by_values, by_bias = needs_input_grad
    gradient, dtype, stream = _by_feature(dy.detach()), _DTYPES[dy.dtype], _stream(dy)
    dx = dvalues = None
    if by_x:
        dx = x.new_empty_strided(x.shape, (1, max(x.shape[0], 1)))
        weights = values.detach().contiguous()
        pattern.spmm_transposed(weights.data_ptr(), _batch(gradient), _batch(dx), dtype, stream)
        if x.stride(0) != 1 or x.shape[1] == 1:
            dx = torch.empty_like(x, memory_format=torch.contiguous_format).copy_(dx)
    if by_values:
        dvalues = torch.empty_like(values)
        inputs = _by_feature(x.detach())
        pattern.sddmm(_batch(gradient), _batch(inputs), dvalues.data_ptr(), dtype, stream)
    return dx, dvalues, gradient.sum(0) if by_bias else None


def _stream(tensor: Tensor) -> int:
    return int(torch.cuda.current_stream(tensor.device).cuda_stream)


def _by_feature(x: Tensor) -> Tensor:
    """The same numbers with the samples side by side; as it is where it lies so already."""
    if x.shape[0] <= 1 or (x.stride(0) == 1 and x.stride(1) >= x.shape[0]):
        return x if x.shape[0] > 1 else x.contiguous()
    return x.t().contiguous().t()


def _batch(x: Tensor) -> Batch:
    stride = x.stride(1) if x.shape[1] > 1 else max(x.shape[0], 1)
    return Batch(x.data_ptr(), stride, x.shape[0])
