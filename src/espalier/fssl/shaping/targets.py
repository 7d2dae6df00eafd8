"""What a target is a target of: processing time, non-zero weights, or units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


# The size of a network as a part of what it was at full width, with so many units of each family
# and non-zeros of each layer.
RelativeSize = Callable[[Sequence[int], Sequence[int | None]], float]


def relative_time(groups: Groups, times: Times) -> RelativeSize:
    """The predicted seconds of one batch."""
    full = times.seconds(groups.full_widths, groups.full_nonzeros)
    return lambda widths, nonzeros: times.seconds(widths, nonzeros) / full


def relative_nonzeros(groups: Groups) -> RelativeSize:
    """The weights that are not 0; biases are not counted."""
    full = sum(groups.weight(layer).numel() for layer in groups.layers)
    return lambda widths, nonzeros: sum(count or 0 for count in nonzeros) / full


def relative_units(groups: Groups) -> RelativeSize:
    """The units of all families, inputs included."""
    full = sum(groups.full_widths)
    return lambda widths, nonzeros: sum(widths) / full
