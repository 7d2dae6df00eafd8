"""Benchmarks small enough for a test: times are multiply-adds, so that no layer is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fssl import forward, step
from benchmarks.fssl.methods import DENSE, Target
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trials import trial

pytest.importorskip("sklearn")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A perceptron that learns the digits in a moment, and is timed as briefly."""
    for module in (forward, step):
        monkeypatch.setattr(module, "TIMING", 1e-4)
    return Settings(
        model="mlp:16-12",
        seeds=2,
        epochs=7,
        times=(0.4,),
        zeros=(0.8,),
        strengths=(0.05,),
        lenet5_times=(),
        rounds=1,
        batch=32,
        time="macs",
        runs=str(tmp_path / "runs"),
        predicted=("mlp:8",),
        predicted_batch=32,
    )


@pytest.fixture
def ask(tiny: Settings) -> Callable[..., Trial]:
    """Makes trials of the tiny settings."""

    def make(method: str = DENSE, target: Target | None = None, seed: int = 0) -> Trial:
        return trial(tiny, method, target, seed)

    return make
