"""Every phase gets its part of the epochs, and at least one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError
from espalier.training import Settings
from espalier.training.methods import stretches
from espalier.training.phases import Phase, divide


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5), st.integers(5, 60))
def test_epochs_are_divided_without_rest(parts: list[float], epochs: int) -> None:
    found = divide([Phase(str(part), part, lambda *_: None) for part in parts], epochs)
    ends = [stretch.end for stretch in found]
    assert [stretch.first for stretch in found] == [0, *ends[:-1]] and ends[-1] == epochs
    for stretch in found:
        share = stretch.phase.part / sum(parts) * epochs
        assert stretch.end > stretch.first
        assert len(parts) > 1 or stretch.end - stretch.first == share


def test_a_phase_of_no_part_falls_away() -> None:
    settings = Settings(method="magnitude", epochs=4, dense_part=0.0, sparsify_part=0.5)
    assert [stretch.phase.name for stretch in stretches(settings)] == ["prune", "finetune"]


def test_too_few_epochs() -> None:
    with pytest.raises(InputError, match="epochs is 2, wanted at least 3: one each for dense"):
        stretches(Settings(method="magnitude", epochs=2))
