"""A network small enough to measure in a test."""

from __future__ import annotations

import pytest

from benchmarks.sparsetrain.published import NETWORKS, PublishedLayer, PublishedNetwork
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import LayerShape

LAYERS = (
    PublishedLayer("first", LayerShape(8, 12, side=6, kernel=3, stride=2), 0.5, 0.7),
    PublishedLayer("second", LayerShape(12, 8, side=3, kernel=1), 0.4, 0.0),
    PublishedLayer("third", LayerShape(12, 8, side=3, kernel=1), 0.4, 0.0),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for a published network of three small convolutions."""
    monkeypatch.setitem(NETWORKS, "tiny", PublishedNetwork("tiny", LAYERS, 1.5))
    return Settings(
        networks=("tiny",),
        layers=("@3", "512>512, 64"),
        zeros=(0.0, 0.5, 0.9),
        most_images=2,
        rounds=2,
        batches=(4,),
        train_steps=1,
    )
