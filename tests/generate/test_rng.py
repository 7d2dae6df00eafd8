from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier import InputError
from espalier.generate.rng import Rng, checked_count


def test_the_same_words_on_every_machine() -> None:
    assert Rng(0, 1).words(2).tolist() == [12492077108140196533, 4482314363672241088]


def test_keys_and_seeds_name_different_streams() -> None:
    names = [(0,), (1,), (0, 0), (0, 1), (1, 0)]
    first_words = {int(Rng(*name).words(1)[0]) for name in names}
    assert len(first_words) == len(names)


@given(st.integers(0, 2**63), st.integers(1, 300))
def test_permutation_holds_every_number_once(seed: int, length: int) -> None:
    assert np.sort(Rng(seed).permutation(length)).tolist() == list(range(length))


@given(st.integers(1, 2**31), st.integers(0, 10))
def test_below_stays_below(bound: int, seed: int) -> None:
    drawn = Rng(seed).below(bound, 5, 7)
    assert drawn.shape == (5, 7)
    assert drawn.min() >= 0 and drawn.max() < bound


def test_uniform_spreads_evenly() -> None:
    drawn = Rng(3).uniform(-2.0, 4.0, 100_000)
    counts = np.histogram(drawn, bins=6, range=(-2.0, 4.0))[0]
    assert counts.sum() == 100_000
    assert np.all(np.abs(counts - 100_000 / 6) < 600)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None])
def test_a_bad_seed_is_named(seed: object) -> None:
    with pytest.raises(InputError, match="seed is"):
        Rng(seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "message"), [(0, "at least 1"), (2.0, "whole number")])
def test_a_bad_count_is_named(value: object, message: str) -> None:
    with pytest.raises(InputError, match=f"layers is .*{message}"):
        checked_count("layers", value)  # type: ignore[arg-type]
