"""What a target is a target of: processing time, non-zero weights, or units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from espalier.fssl.groups.groups import Groups


class Times(Protocol):
    """What shaping asks of a `TimeModel`."""

    def seconds(self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None) -> float:
        """Predicted seconds of a batch."""
        ...

    def marginals(self, widths: Sequence[int]) -> list[float]:
        """Seconds saved by each unit removed, for each family."""
        ...


class Measure(Protocol):
    """A size of the network, as a part of what it was at full width."""

    def left(self, widths: Sequence[int], nonzeros: Sequence[int | None]) -> float:
        """The part left with so many units of each family and non-zeros of each layer."""
        ...


class TimeLeft:
    """The predicted seconds of one batch."""

    def __init__(self, groups: Groups, times: Times) -> None:
        self._times = times
        self._full = times.seconds(groups.full_widths, groups.full_nonzeros)

    def left(self, widths: Sequence[int], nonzeros: Sequence[int | None]) -> float:
        return self._times.seconds(widths, nonzeros) / self._full


class WeightsLeft:
    """The weights that are not 0; biases are not counted."""

    def __init__(self, groups: Groups) -> None:
        self._full = sum(groups.weight(layer).numel() for layer in groups.layers)

    def left(self, widths: Sequence[int], nonzeros: Sequence[int | None]) -> float:
        return sum(count or 0 for count in nonzeros) / self._full


class UnitsLeft:
    """The units of all families, inputs included."""

    def __init__(self, groups: Groups) -> None:
        self._full = sum(groups.full_widths)

    def left(self, widths: Sequence[int], nonzeros: Sequence[int | None]) -> float:
        return sum(widths) / self._full
