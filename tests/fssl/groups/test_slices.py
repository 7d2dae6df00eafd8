"""Sums over the units of a parameter, against loops."""

import pytest
import torch
from torch import nn

from espalier.fssl.groups.slices import INCOMING, OUTGOING, DenseSlice, SparseSlice

WEIGHT = torch.arange(24.0).reshape(4, 6) - 10.0
CASES = {
    "rows": (DenseSlice("w", nn.Parameter(WEIGHT.clone()), INCOMING, axis=0), 4),
    "columns": (DenseSlice("w", nn.Parameter(WEIGHT.clone()), OUTGOING, axis=1), 6),
    "columns in threes": (
        DenseSlice("w", nn.Parameter(WEIGHT.clone()), OUTGOING, axis=1, repeat=3),
        2,
    ),
    "filters": (
        DenseSlice("w", nn.Parameter(WEIGHT.reshape(2, 3, 2, 2).clone()), INCOMING, axis=0),
        2,
    ),
    "channels": (
        DenseSlice("w", nn.Parameter(WEIGHT.reshape(2, 3, 2, 2).clone()), OUTGOING, axis=1),
        3,
    ),
    "bias": (DenseSlice("b", nn.Parameter(WEIGHT[0].clone()), "bias", axis=0), 6),
    "sparse": (
        SparseSlice(
            "v", nn.Parameter(WEIGHT[0].clone()), INCOMING, torch.tensor([0, 0, 2, 2, 2, 3]), 4
        ),
        4,
    ),
}


def entries_of(piece, unit):
    """Which entries of the parameter belong to a unit, one by one."""
    where = torch.zeros_like(piece.parameter, dtype=torch.bool)
    if isinstance(piece, SparseSlice):
        where[piece.units == unit] = True
        return where
    along = where.movedim(piece.axis, 0)
    along[unit * piece.repeat : (unit + 1) * piece.repeat] = True
    return where


@pytest.mark.parametrize("name", CASES)
def test_sums_are_over_the_entries_of_each_unit(name):
    piece, units = CASES[name]
    weights = piece.parameter.detach()
    wanted = torch.stack([weights[entries_of(piece, unit)].sum() for unit in range(units)])
    torch.testing.assert_close(piece.sums(weights), wanted)
    squares = [weights[entries_of(piece, unit)].square().sum() for unit in range(units)]
    torch.testing.assert_close(piece.squares(), torch.stack(squares))
    counts = [float(entries_of(piece, unit).sum()) for unit in range(units)]
    assert piece.counts().tolist() == counts


@pytest.mark.parametrize("name", CASES)
def test_scaling_reaches_the_entries_of_a_unit_and_no_others(name):
    piece, units = CASES[name]
    before = piece.parameter.detach().clone()
    factors = torch.ones(units)
    factors[1] = 0.0
    piece.scale_(factors)
    gone = entries_of(piece, 1)
    assert not piece.parameter[gone].any()
    assert torch.equal(piece.parameter[~gone], before[~gone])
    with torch.no_grad():
        piece.parameter.copy_(before)
