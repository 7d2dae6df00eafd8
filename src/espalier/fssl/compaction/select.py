"""Select: the features a compact layer still reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from espalier.errors import InputError


class Select(nn.Module):
    """Hands on some features of each sample: ``x.index_select(-1, indices)``.

    Stands before a layer whose inputs shrank, where nothing made those inputs that could have
    shrunk with it: the pixels of an image.

    Arguments:
        indices: int64 ``[kept]``, rising, below `in_features`.
        in_features: features along the last axis of what comes.

    >>> Select(torch.tensor([0, 2]), 3)(torch.tensor([[5.0, 6.0, 7.0]])).tolist()
    [[5.0, 7.0]]
    """

    indices: Tensor

    def __init__(self, indices: Tensor, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., kept]`` of ``[..., in_features]``.

        Raises:
            InputError: something else came.
        """
        traced: bool = torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
        if not traced and x.shape[-1:] != (self.in_features,):
            raise InputError(
                f"input is {list(x.shape)}, wanted [..., {self.in_features}]: all features, of "
                f"which {len(self.indices)} are read"
            )
        return x.index_select(-1, self.indices)

    def extra_repr(self) -> str:
        return f"{len(self.indices)} of {self.in_features}"
