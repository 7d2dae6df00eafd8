"""Which tensors our kernels take, and when."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_PLAIN = (Tensor, Parameter)


def is_plain(tensor: Tensor, *parameters: Tensor | None) -> bool:
    """Whether all are ordinary float32 tensors on the CPU, and nothing records or transforms.

    Whatever else comes (other types and devices, autocast, functorch, forward-mode gradients,
    tracing, dispatch modes) belongs to PyTorch's own operators.
    """
    for each in (tensor, *parameters):
        if each is not None and not (
            type(each) in _PLAIN
            and each.dtype is torch.float32
            and each.is_cpu
            and each.layout is torch.strided
        ):
            return False
    return not (
        tensor.is_neg()
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )
