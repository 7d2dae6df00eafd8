"""Select: the features a compact layer still reads."""

from __future__ import annotations

from torch import Tensor, nn


class Select(nn.Module):
    """Hands on some features of each sample: ``x.index_select(-1, indices)``.

    Stands before a layer whose inputs shrank, where nothing made those inputs that could have
    shrunk with it: the pixels of an image.

    Arguments:
        indices: int64 ``[kept]``, rising, below `in_features`.
        in_features: features along the last axis of what comes.

    >>> import torch
    >>> Select(torch.tensor([0, 2]), 3)(torch.tensor([[5.0, 6.0, 7.0]])).tolist()
    [[5.0, 7.0]]
    """

    indices: Tensor

    def __init__(self, indices: Tensor, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., kept]`` of ``[..., in_features]``."""
        return x.index_select(-1, self.indices)

    def extra_repr(self) -> str:
        return f"{len(self.indices)} of {self.in_features}"
