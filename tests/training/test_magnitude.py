"""Global magnitude: the largest weights of all layers stay, the others stay zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.training.methods.magnitude import Masks


@given(st.integers(0, 20), st.integers(0, 2**16))
def test_the_largest_of_all_layers_stay(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = [
        torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (8,))
    ]
    before = torch.cat([weight.detach().flatten().clone() for weight in weights])
    masks = Masks(weights)
    masks.keep_largest(count)
    after = torch.cat([weight.detach().flatten() for weight in weights])
    assert int((after != 0).sum()) == count
    others = before.abs()
    for layer in others.split([12, 8]):
        assert count < 2 or after[others == layer.max()] != 0
        layer[layer.argmax()] = torch.nan
    kept, gone = (others[where & ~others.isnan()] for where in (after != 0, after == 0))
    assert not len(kept) or not len(gone) or kept.min() >= gone.max()


def test_zeros_stay_zeros() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [2.0, 3.0]]))
    masks = Masks([weight])
    with torch.no_grad():
        weight += 1
    masks.apply()
    assert weight.tolist() == [[2.0, 0.0], [3.0, 4.0]]


def test_every_layer_keeps_its_largest_weight() -> None:
    weights = [torch.tensor([3.0, -4.0, 5.0]), torch.tensor([0.1, -0.2, 0.15])]
    Masks(weights).keep_largest(3)
    assert [weight.tolist() for weight in weights] == [
        [0.0, -4.0, 5.0],
        [0.0, pytest.approx(-0.2), 0.0],
    ]
