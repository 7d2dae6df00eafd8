"""The path to a target, and the penalty that follows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.fssl.shaping.schedule import Strength, scheduled


@given(target=st.floats(0.01, 0.99), done=st.floats(0.0, 1.0), later=st.floats(0.0, 1.0))
def test_the_path_falls_to_its_target(target, done, later):
    first, second = sorted((done, later))
    assert scheduled(target, first) >= scheduled(target, second)
    assert scheduled(target, 0.0) == 1.0
    assert scheduled(target, 1.0) == pytest.approx(target)


def test_the_strength_rises_while_behind_and_falls_back():
    strength = Strength()
    strength.update(3.0, left=0.5, path=0.9)
    calm = strength.value
    strength.update(3.0, left=0.9, path=0.5)
    assert strength.value > calm
    for _ in range(10):
        strength.update(3.0, left=0.5, path=0.5)
    assert strength.value == calm
