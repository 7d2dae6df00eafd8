"""Where the weights of a layer's units lie in a parameter, and sums over each unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

INCOMING, OUTGOING, BIAS, NORM = "in", "out", "bias", "norm"


@dataclass(frozen=True, eq=False)
class ParameterSlice:
    """The entries of one parameter that belong to units, unit by unit.

    Attributes:
        name: of the parameter in the model, ``"classifier.0.weight"``.
        parameter: the parameter itself.
        role: ``"in"`` for incoming rows, ``"out"`` for outgoing columns, ``"bias"``, ``"norm"``.
    """

    name: str
    parameter: nn.Parameter
    role: str

    def sums(self, entries: Tensor) -> Tensor:
        """The sum over each unit, ``[units]``, of a tensor shaped like the parameter."""
        raise NotImplementedError

    def spread(self, factors: Tensor) -> Tensor:
        """One number per unit, ``[units]``, as a tensor that broadcasts over the parameter."""
        raise NotImplementedError

    def squares(self) -> Tensor:
        """The squared norm of each unit's entries, ``[units]``."""
        return self.sums(self.parameter.detach().square())

    def counts(self) -> Tensor:
        """How many entries each unit has, ``[units]``."""
        return self.sums(torch.ones_like(self.parameter))

    @torch.no_grad()
    def scale_(self, factors: Tensor) -> None:
        """Multiply the entries of each unit by its factor; a factor of 0 gives exact zeros."""
        self.parameter.mul_(self.spread(factors))


@dataclass(frozen=True, eq=False)
class DenseSlice(ParameterSlice):
    """Units along one axis of a parameter, `repeat` consecutive positions each.

    >>> weight = nn.Parameter(torch.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> DenseSlice("weight", weight, OUTGOING, axis=1).squares().tolist()
    [25.0, 5.0]
    """

    axis: int
    repeat: int = 1

    def sums(self, entries: Tensor) -> Tensor:
        if entries.dim() > 1:
            entries = entries.sum([each for each in range(entries.dim()) if each != self.axis])
        return entries if self.repeat == 1 else entries.view(-1, self.repeat).sum(1)

    def spread(self, factors: Tensor) -> Tensor:
        if self.repeat > 1:
            factors = factors.repeat_interleave(self.repeat)
        behind = self.parameter.dim() - self.axis - 1
        return factors.view(-1, *(1,) * behind)


@dataclass(frozen=True, eq=False)
class SparseSlice(ParameterSlice):
    """Entries of a sparse layer's values, each with the unit it belongs to."""

    units: Tensor  # int64 [nonzeros]
    size: int

    def sums(self, entries: Tensor) -> Tensor:
        return entries.new_zeros(self.size).index_add_(0, self.units, entries)

    def spread(self, factors: Tensor) -> Tensor:
        return factors[self.units]
