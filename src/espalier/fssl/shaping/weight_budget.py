"""Single weights go: the smallest of the layers that may become sparse."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.fssl.groups.groups import Groups
from espalier.fssl.shaping.budget import Budget, Masks
from espalier.fssl.shaping.proximal import ProximalStep
from espalier.fssl.shaping.targets import RelativeSize

_ROUNDING = 1e-6  # of a whole number of weights


class WeightBudget(Budget):
    """Single weights go: the smallest of some layers.

    Arguments:
        weights: of the layers that may become sparse.
    """

    sparse = True

    def __init__(
        self,
        groups: Groups,
        measure: RelativeSize,
        target: float,
        proximal: ProximalStep,
        weights: Sequence[nn.Parameter],
    ) -> None:
        super().__init__(groups, measure, target, proximal)
        self._weights = weights
        self._to_prune = [torch.zeros_like(weight) for weight in self._weights]

    def proximal_step(self, lr: float, *, backwards: bool) -> None:
        """A soft threshold on the weights to prune."""
        to_prune = list(zip(self._weights, self._to_prune, strict=True))
        self._proximal.on_weights(self.strength.value, to_prune)

    def choose(self, part: float, lr: float) -> float:
        """Choose the smallest weights until this part of all is left."""
        threshold = self._threshold(part)
        self._to_prune = [_below(weight, threshold).to(weight.dtype) for weight in self._weights]
        return threshold

    def remove(self) -> None:
        """Remove the smallest weights."""
        threshold = self._threshold(self._target)
        for weight in self._weights:
            weight.mul_(~_below(weight, threshold))

    def masks(self) -> Masks:
        """Weights that are 0 stay 0."""
        return [(weight, (weight != 0.0).float()) for weight in self._weights]

    def state_dict(self) -> dict[str, Any]:
        """The state of every budget, and which weights are to be pruned."""
        return {**super().state_dict(), "weights": [each.clone() for each in self._to_prune]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        for mine, given in zip(self._to_prune, state["weights"], strict=True):
            mine.copy_(given)

    def _threshold(self, left: float) -> float:
        """The size below which weights go, so that this part of all weights is left."""
        sizes = torch.cat([_removable_sizes(weight) for weight in self._weights])
        total = sum(self._groups.weight(layer).numel() for layer in self._groups.layers)
        elsewhere = total - len(sizes)
        kept = int(left * total + _ROUNDING) - elsewhere - len(self._weights)
        if kept <= 0:
            return float(sizes.max()) + 1.0
        position = max(0, len(sizes) - kept)
        return float(np.partition(sizes.numpy(), position)[position])  # 40 times as fast as torch's


def prunable_weights(groups: Groups, learns: Container[Tensor], zeros: float) -> list[nn.Parameter]:
    """The weights that may go one by one.

    Raises:
        InputError: they are too few for so many zeros.
    """
    groups.check_zeros(zeros, learns)
    layers = [layer for layer in groups.layers if layer.prunable_elements]
    return [weight for layer in layers if (weight := groups.weight(layer)) in learns]


def _below(weight: Tensor, threshold: float) -> Tensor:
    """Which weights of a layer are below the threshold; never its largest, lest the layer dies."""
    sizes = weight.detach().abs()
    return (sizes < threshold) & (sizes < sizes.max())


def _removable_sizes(weight: Tensor) -> Tensor:
    """The sizes of a layer's weights, with a 0 in place of the largest."""
    sizes = weight.detach().abs().flatten().float()
    sizes[sizes.argmax()] = 0.0
    return sizes
