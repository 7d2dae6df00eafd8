"""Which units are the least important, by each criterion, and how many of them go."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from espalier.fssl import find_groups
from espalier.fssl.shaping.importance import CRITERIA, least_important


def test_criteria_are_the_norm_and_what_the_loss_would_change():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]))
        model[2].weight.copy_(torch.tensor([[2.0, 1.0, 0.0]]))
    units = find_groups(model, torch.ones(1, 2), inputs=False).units[0]
    model(torch.tensor([[3.0, 1.0]])).sum().backward()
    assert CRITERIA["norm"](units).tolist() == pytest.approx([5.0**0.5, 5.0**0.5, 5.0])
    # The output of a unit times its outgoing weight, once for each side of the ReLU.
    assert CRITERIA["first_order"](units).tolist() == [12.0, 4.0, 0.0]


@given(
    seed=st.integers(0, 2**31),
    target=st.floats(0.05, 1.0),
    costs=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_the_least_important_go_and_no_more_than_needed(seed, target, costs):
    draw = torch.Generator().manual_seed(seed)
    scores = [torch.rand(12, generator=draw), torch.rand(5, generator=draw)]
    scores[0][3] = 0.0
    full = 12 * costs[0] + 5 * costs[1]

    def left(widths):
        return sum(w * c for w, c in zip(widths, costs, strict=True)) / full

    chosen = least_important(scores, left, target, min_width=2)
    widths = [int((~each).sum()) for each in chosen]
    assert chosen[0][3] and min(widths) >= 2
    every, gone = torch.cat(scores), torch.cat(chosen)
    held = torch.cat([score >= score.topk(2).values[-1] for score in scores])
    assert not (gone & held).any()
    if left(widths) > target:
        assert gone.sum() + held.sum() == len(every)
    elif gone.sum() > 1:
        assert every[gone].max() <= every[~gone & ~held].min() if (~gone & ~held).any() else True
        last = every.masked_fill(~gone, -1.0).argmax()
        family = int(last >= 12)
        widths[family] += 1
        assert left(widths) > target
