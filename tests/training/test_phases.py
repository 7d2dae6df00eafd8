"""Every phase gets its part of the epochs, and at least one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError
from espalier.training import Settings
from espalier.training.methods import phases_of
from espalier.training.phases import Phase, divide


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5), st.integers(5, 60))
def test_epochs_are_divided_without_rest(parts: list[float], epochs: int) -> None:
    found = divide([Phase(str(part), part, lambda *_: None) for part in parts], epochs)
    ends = [phase.end for phase in found]
    assert [phase.first for phase in found] == [0, *ends[:-1]] and ends[-1] == epochs
    for phase in found:
        share = phase.part / sum(parts) * epochs
        assert phase.end > phase.first
        assert len(parts) > 1 or phase.end - phase.first == share


def test_a_phase_of_no_part_falls_away() -> None:
    settings = Settings(method="magnitude", epochs=4, dense_part=0.0, sparsify_part=0.5)
    assert [phase.name for phase in phases_of(settings)] == ["prune", "finetune"]


def test_too_few_epochs() -> None:
    with pytest.raises(InputError, match="epochs is 2, wanted at least 3: one each for dense"):
        phases_of(Settings(method="magnitude", epochs=2))
