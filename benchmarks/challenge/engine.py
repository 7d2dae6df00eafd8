"""espalier as a contestant: plans with some or all shortcuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.contest import Contestant, Work
from espalier.inference import Plan
from espalier.inference.options import Filter


def plan_contestant(name: str, plan: Plan, filter: Filter) -> Contestant:
    """A plan run from the caller's matrix to the categories."""

    def prepare(batch: Any) -> Work:
        return lambda: plan.run(batch, filter)

    def outputs(batch: Any) -> NDArray[np.float32]:
        return np.asarray(plan.run(batch, filter).activations)

    return Contestant(name, prepare, outputs)
