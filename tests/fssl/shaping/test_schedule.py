"""The path to a target, and who is to go."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.fssl.shaping.schedule import Strength, least_useful, wanted


@given(target=st.floats(0.01, 0.99), done=st.floats(0.0, 1.0), later=st.floats(0.0, 1.0))
def test_the_path_falls_to_its_target(target, done, later):
    first, second = sorted((done, later))
    assert wanted(target, first) >= wanted(target, second)
    assert wanted(target, 0.0) == 1.0
    assert wanted(target, 1.0) == pytest.approx(target)


@given(
    seed=st.integers(0, 2**31),
    target=st.floats(0.05, 1.0),
    costs=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_the_least_useful_go_and_no_more_than_needed(seed, target, costs):
    draw = torch.Generator().manual_seed(seed)
    scores = [torch.rand(12, generator=draw), torch.rand(5, generator=draw)]
    scores[0][3] = 0.0
    full = 12 * costs[0] + 5 * costs[1]

    def left(widths):
        return sum(w * c for w, c in zip(widths, costs, strict=True)) / full

    chosen = least_useful(scores, left, target, min_width=2)
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


def test_the_strength_rises_while_behind_and_falls_back():
    strength = Strength()
    strength.set(3.0, left=0.5, path=0.9)
    calm = strength.value
    strength.set(3.0, left=0.9, path=0.5)
    assert strength.value > calm
    for _ in range(10):
        strength.set(3.0, left=0.5, path=0.5)
    assert strength.value == calm
