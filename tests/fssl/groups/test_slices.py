"""Sums over the units of a parameter, against loops."""

import pytest
import torch
from torch import nn

from espalier.fssl.groups.slices import INCOMING, OUTGOING, DenseMember, SparseMember

WEIGHT = torch.arange(24.0).reshape(4, 6) - 10.0
CASES = {
    "rows": (DenseMember("w", nn.Parameter(WEIGHT.clone()), INCOMING, axis=0), 4),
    "columns": (DenseMember("w", nn.Parameter(WEIGHT.clone()), OUTGOING, axis=1), 6),
    "columns in threes": (
        DenseMember("w", nn.Parameter(WEIGHT.clone()), OUTGOING, axis=1, repeat=3),
        2,
    ),
    "filters": (
        DenseMember("w", nn.Parameter(WEIGHT.reshape(2, 3, 2, 2).clone()), INCOMING, axis=0),
        2,
    ),
    "channels": (
        DenseMember("w", nn.Parameter(WEIGHT.reshape(2, 3, 2, 2).clone()), OUTGOING, axis=1),
        3,
    ),
    "bias": (DenseMember("b", nn.Parameter(WEIGHT[0].clone()), "bias", axis=0), 6),
    "sparse": (
        SparseMember(
            "v", nn.Parameter(WEIGHT[0].clone()), INCOMING, torch.tensor([0, 0, 2, 2, 2, 3]), 4
        ),
        4,
    ),
}


def entries_of(member, unit):
    """Which entries of the parameter belong to a unit, one by one."""
    where = torch.zeros_like(member.parameter, dtype=torch.bool)
    if isinstance(member, SparseMember):
        where[member.units == unit] = True
        return where
    along = where.movedim(member.axis, 0)
    along[unit * member.repeat : (unit + 1) * member.repeat] = True
    return where


@pytest.mark.parametrize("name", CASES)
def test_sums_are_over_the_entries_of_each_unit(name):
    member, units = CASES[name]
    weights = member.parameter.detach()
    wanted = torch.stack([weights[entries_of(member, unit)].sum() for unit in range(units)])
    torch.testing.assert_close(member.sums(weights), wanted)
    squares = [weights[entries_of(member, unit)].square().sum() for unit in range(units)]
    torch.testing.assert_close(member.squares(), torch.stack(squares))
    counts = [float(entries_of(member, unit).sum()) for unit in range(units)]
    assert member.counts().tolist() == counts


@pytest.mark.parametrize("name", CASES)
def test_scaling_reaches_the_entries_of_a_unit_and_no_others(name):
    member, units = CASES[name]
    before = member.parameter.detach().clone()
    factors = torch.ones(units)
    factors[1] = 0.0
    member.scale_(factors)
    gone = entries_of(member, 1)
    assert not member.parameter[gone].any()
    assert torch.equal(member.parameter[~gone], before[~gone])
    with torch.no_grad():
        member.parameter.copy_(before)
