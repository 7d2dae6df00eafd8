"""espalier as a candidate: plans with some or all shortcuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.comparison import Candidate, Work
from espalier.inference import Plan
from espalier.inference.options import Filter


def plan_candidate(name: str, plan: Plan, filter: Filter) -> Candidate:
    """A plan run from the caller's matrix to the categories."""

    def prepare(batch: Any) -> Work:
        return lambda: plan.run(batch, filter)

    def outputs(batch: Any) -> NDArray[np.float32]:
        return np.asarray(plan.run(batch, filter).activations)

    return Candidate(name, prepare, outputs)
