"""Measured latencies go to a folder of the test run, never to the developer's cache."""

from __future__ import annotations

import pytest
import torch

from espalier.nn.zeroskip import accelerate as accelerate_module
from espalier.nn.zeroskip.autotune import LayerTuner
from tests.support.layers import MadeUpLatencies


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUpLatencies:
    """LatencyCache by which skipping always gains."""
    latencies = MadeUpLatencies({"input": 0.1, "gradient": 0.1, "needed": 0.1})
    monkeypatch.setattr(accelerate_module, "LATENCIES", latencies)
    monkeypatch.setattr(LayerTuner.__init__, "__defaults__", ("measured", latencies))
    return latencies
