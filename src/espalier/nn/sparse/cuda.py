"""The product of a sparse layer on a GPU: our kernels on CUDA tensors, on torch's own stream."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from espalier.cuda import Device, open_device
from espalier.cuda.pattern import Batch, DevicePattern, DType
from espalier.errors import DeviceError

_PLAIN = (Tensor, Parameter)
_DTYPES: dict[torch.dtype, DType] = {torch.float32: "f32", torch.bfloat16: "bf16"}


def _is_plain_cuda(tensor: Tensor, *parameters: Tensor | None) -> bool:
    for each in (tensor, *parameters):
        if each is not None and not (
            type(each) in _PLAIN
            and _on_gpu(each)
            and each.dtype in _DTYPES
            and each.dtype is tensor.dtype
            and each.layout is torch.strided
        ):
            return False
    return not (
        tensor.is_neg()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )


def operands(
    x: Tensor, values: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The operands as the kernels take them, under autocast in its type; None where they do not."""
    if not _on_gpu(x):
        return None
    given = x, values, bias
    if torch.is_autocast_enabled("cuda"):
        wanted = torch.get_autocast_dtype("cuda")
        given = x.to(wanted), values.to(wanted), None if bias is None else bias.to(wanted)
    return given if _is_plain_cuda(*given) else None


def is_plain_cuda(tensor: Tensor, *parameters: Tensor | None) -> bool:
    """Whether all are ordinary tensors on one GPU, of one type that the kernels take.

    Autocast is not looked at: in a backward pass the types are settled.
    """
    return _on_gpu(tensor) and _is_plain_cuda(tensor, *parameters)


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
    dy: Tensor, x: Tensor, values: Tensor, pattern: DevicePattern, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The wanted gradients by x, values and bias."""
    by_x, by_values, by_bias = wanted
    gradient, dtype, stream = _by_feature(dy.detach()), _DTYPES[dy.dtype], _stream(dy)
    dx = dvalues = None
    if by_x:
        dx = x.new_empty_strided(x.shape, (1, max(x.shape[0], 1)))
        held = values.detach().contiguous()
        pattern.spmm_transposed(held.data_ptr(), _batch(gradient), _batch(dx), dtype, stream)
        if x.stride(0) != 1 or x.shape[1] == 1:
            dx = torch.empty_like(x, memory_format=torch.contiguous_format).copy_(dx)
    if by_values:
        dvalues = torch.empty_like(values)
        inputs = _by_feature(x.detach())
        pattern.sddmm(_batch(gradient), _batch(inputs), dvalues.data_ptr(), dtype, stream)
    return dx, dvalues, gradient.sum(0) if by_bias else None


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


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
