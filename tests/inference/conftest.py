"""Plans in tests never measure this machine: every choice is forced or the same everywhere."""

from __future__ import annotations

import pytest
from tests.support.costs import forced_cost

from espalier.inference.cost import CostModel


@pytest.fixture(autouse=True)
def fixed_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels cost what `forced_cost` says, rows of their own nearly nothing."""
    monkeypatch.setattr(CostModel, "load", classmethod(lambda _: forced_cost("rows")))
