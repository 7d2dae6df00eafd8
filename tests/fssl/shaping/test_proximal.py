"""Proximal steps against what they minimise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn

from espalier.fssl.groups.slices import INCOMING, OUTGOING, DenseSlice
from espalier.fssl.shaping.proximal import adaptive_norms, group_factors, soft_threshold

seeds = st.integers(0, 2**31)


def drawn(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@given(seed=seeds, threshold=st.floats(0.0, 2.0))
def test_soft_threshold_minimises(seed, threshold):
    values = drawn(seed, 7)
    found = soft_threshold(values, threshold)
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    costs = 0.5 * (grid - values[:, None]).square() + threshold * grid.abs()
    cost = 0.5 * (found - values).square() + threshold * found.abs()
    assert (cost <= costs.min(1).values + 1e-12).all()


@given(seed=seeds, threshold=st.floats(0.01, 4.0))
def test_group_factors_minimise(seed, threshold):
    group = drawn(seed, 5)
    factor = group_factors(group.norm()[None], torch.tensor([threshold], dtype=torch.float64))
    wanted = minimize(
        lambda w: 0.5 * ((w - group.numpy()) ** 2).sum() + threshold * np.linalg.norm(w),
        0.1 * group.numpy(),
        method="BFGS",
    ).fun
    found = factor * group
    cost = 0.5 * (found - group).square().sum() + threshold * found.norm()
    assert float(cost) <= wanted + 1e-6


@given(seed=seeds, scale=st.floats(0.05, 3.0), spread=st.floats(0.0, 3.0))
def test_adaptive_norms_solve_their_equation(seed, scale, spread):
    """Stationarity: d (w - u) + s w / |w| = 0 where a group lives; |d u| <= s where not."""
    row = nn.Parameter(drawn(seed, 3, 4))
    column = nn.Parameter(drawn(seed + 1, 2, 3))
    slices = [
        DenseSlice("row", row, INCOMING, axis=0),
        DenseSlice("column", column, OUTGOING, axis=1),
    ]
    curvatures = [(spread * drawn(seed + 2, *each.shape)).exp() for each in (row, column)]
    thresholds = scale * torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    norms = adaptive_norms(slices, curvatures, thresholds)
    for unit in range(3):
        u = torch.cat([row[unit], column[:, unit]]).detach()
        d = torch.cat([curvatures[0][unit], curvatures[1][:, unit]])
        s, r = thresholds[unit], norms[unit]
        if r == 0:
            assert (d * u).norm() <= s * (1 + 1e-9)
            continue
        w = r * d * u / (r * d + s)
        torch.testing.assert_close(w.norm(), r, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(
            d * (w - u) + s * w / r, torch.zeros_like(w), atol=1e-5 * float((d * u).norm()), rtol=0
        )


def test_a_dead_group_stays_dead_and_harms_no_other():
    weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    piece = DenseSlice("w", weight, INCOMING, axis=0)
    norms = adaptive_norms([piece], [torch.ones(2, 2)], torch.tensor([0.0, 1.0]))
    assert norms.tolist() == pytest.approx([0.0, 4.0])
