"""Where real data lies, and how hypothesis behaves: the same examples every time in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

PATIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("here", deadline=None, suppress_health_check=PATIENT)
settings.register_profile("ci", deadline=None, suppress_health_check=PATIENT, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.fixture(scope="session")
def challenge_data() -> Path:
    """Folder of the official neuron1024 network, inputs and categories."""
    return _real_data("challenge")


@pytest.fixture(scope="session")
def mnist_data() -> Path:
    """Folder of MNIST's IDX files."""
    return _real_data("mnist")


def _real_data(name: str) -> Path:
    parent = os.environ.get("ESPALIER_DATA") or REPOSITORY.parent / "shared" / "data"
    folder = Path(parent) / name
    if not folder.is_dir():
        pytest.skip(f"real data is absent: set ESPALIER_DATA to the folder that holds {name}/")
    return folder
