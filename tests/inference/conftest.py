"""Plans in tests never measure this machine: every choice is forced or the same everywhere."""

from __future__ import annotations

import pytest

from espalier.inference.cost import CostModel
from tests.support.costs import forced_cost


@pytest.fixture(autouse=True)
def fixed_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels cost what `forced_cost` says, rows of their own nearly nothing."""
    monkeypatch.setattr(CostModel, "load", classmethod(lambda _: forced_cost("rows")))
