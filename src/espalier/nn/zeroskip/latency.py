"""How long one pass takes: dense, and skipping zeros at some densities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

DENSE = "dense"
# The ways to skip in each pass, each named after what its density is of: the input, the gradient,
# or the entries of the input's gradient that are needed.
VARIANTS = {
    "forward": ("input",),
    "backward_input": ("gradient", "needed"),
    "backward_weight": ("input", "gradient"),
}
DENSITIES = (0.03, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class LatencyCurve:
    """Seconds of one pass: dense, and of each variant at each of DENSITIES."""

    dense: float
    variants: dict[str, tuple[float, ...]]

    def seconds(self, variant: str, density: float) -> float:
        """Seconds of a variant, linear between the measured densities and beyond the last.

        >>> LatencyCurve(1.0, {"input": (0.1, 0.2, 0.4, 0.7)}).seconds("input", 0.2)
        0.3...
        """
        if variant == DENSE:
            return self.dense
        times = self.variants[variant]
        if density > DENSITIES[-1]:
            slope = (times[-1] - times[-2]) / (DENSITIES[-1] - DENSITIES[-2])
            return times[-1] + max(slope, 0.0) * (density - DENSITIES[-1])
        return float(np.interp(density, DENSITIES, times))

    @classmethod
    def from_json(cls, entry: Any, names: tuple[str, ...]) -> LatencyCurve:
        """Read back what was cached; anything else raises ValueError, KeyError or TypeError."""
        curve = cls(float(entry["dense"]), {name: tuple(entry["variants"][name]) for name in names})
        seconds = [curve.dense, *(each for times in curve.variants.values() for each in times)]
        if len(seconds) != 1 + len(names) * len(DENSITIES) or not all(
            isinstance(each, float) and 0.0 < each < math.inf for each in seconds
        ):
            raise ValueError("no table of seconds")
        return curve
