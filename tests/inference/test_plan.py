"""Plans compute what the reference computes, whatever they choose."""

from __future__ import annotations

from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.costs import FORCED, forced_cost
from tests.support.networks import Case, cases

import espalier as esp
from espalier.inference.cost import TILES, CostModel
from espalier.kernels import reference


class Choice(NamedTuple):
    """Everything a plan may choose or be told, none of which may change what it computes."""

    cheap: str
    tile: int
    panels: int
    threads: int
    filter: Any
    output: Any
    merge: bool
    fold: bool
    group: bool
    fixed_point: bool
    memory: int | None


choices = st.builds(
    Choice,
    cheap=st.sampled_from(FORCED),
    tile=st.sampled_from(TILES),
    panels=st.sampled_from((1, 2, 8)),
    threads=st.sampled_from((1, 2)),
    filter=st.sampled_from(("none", "zero", "unique")),
    output=st.sampled_from(("dense", "csr")),
    merge=st.booleans(),
    fold=st.booleans(),
    group=st.booleans(),
    fixed_point=st.booleans(),
    memory=st.sampled_from((None, None, 1, 4096)),
)


def run(case: Case, choice: Choice) -> esp.Result:
    with patch.object(CostModel, "load", lambda: forced_cost(choice.cheap, choice.tile)):
        plan = esp.compile(
            case.network,
            merge=choice.merge,
            fold=choice.fold,
            group=choice.group,
            fixed_point=choice.fixed_point,
            memory=choice.memory,
        )
    plan.tile, plan.panels = choice.tile, choice.panels
    return plan.run(case.x, choice.filter, output=choice.output, threads=choice.threads)


def dense(activations: Any) -> Any:
    return activations.toarray() if sp.issparse(activations) else activations


@settings(max_examples=120)
@given(case=cases(), choice=choices)
def test_exact_cases_agree_with_the_reference_bit_for_bit(case: Case, choice: Choice) -> None:
    result = run(case, choice)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(dense(result.activations), expected)
    np.testing.assert_array_equal(result.categories, np.flatnonzero(expected.any(axis=1)))
    assert result.activations.dtype == np.float32
    assert sp.issparse(result.activations) == (choice.output == "csr")
