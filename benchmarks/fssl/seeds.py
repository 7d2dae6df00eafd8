"""Several seeds as one: means and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and all values.

    >>> over_seeds([0.1, 0.3])["mean"]
    0.2
    """
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "deviation": spread, "values": list(values)}


def percent(values: dict[str, Any]) -> str:
    """Errors in percent, mean and standard deviation over the seeds.

    >>> percent({"mean": 0.0162, "deviation": 0.0008, "values": [0.0154, 0.017]})
    '1.62 ± 0.08 %'
    >>> percent({"mean": 0.0162, "deviation": 0.0, "values": [0.0162]})
    '1.62 %'
    """
    mean = f"{100.0 * values['mean']:.2f}"
    if len(values["values"]) == 1:
        return f"{mean} %"
    return f"{mean} ± {100.0 * values['deviation']:.2f} %"
