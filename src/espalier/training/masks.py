"""Zeros that stay: masks over the weights of a network, biases left alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Masks:
    """One mask for each weight; ``apply`` after every step of an optimiser.

    Arguments:
        weights: of all layers that share one budget; what is 0 now stays 0.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -1.0, 2.0, 0.5]))
    >>> masks = Masks([weight])
    >>> masks.keep_largest(2)
    >>> weight.detach()
    tensor([3., 0., 2., 0.])
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = list(weights)
        self._masks = [weight.detach() != 0 for weight in self._weights]

    @torch.no_grad()
    def keep_largest(self, count: int) -> None:
        """Keep the ``count`` weights of largest magnitude of all layers; of equals, the first."""
        magnitudes = torch.cat([weight.abs().flatten() for weight in self._weights])
        kept = torch.zeros(len(magnitudes), dtype=torch.bool)
        kept[magnitudes.argsort(descending=True, stable=True)[:count]] = True
        sizes = [weight.numel() for weight in self._weights]
        self._masks = [
            part.view_as(weight)
            for part, weight in zip(kept.split(sizes), self._weights, strict=True)
        ]
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set to 0 what is masked."""
        for weight, mask in zip(self._weights, self._masks, strict=True):
            weight.masked_fill_(~mask, 0.0)

    def state_dict(self) -> list[Tensor]:
        """The masks themselves."""
        return list(self._masks)

    def load_state_dict(self, masks: Sequence[Tensor]) -> None:
        """Take over masks of the same shapes."""
        self._masks = list(masks)
