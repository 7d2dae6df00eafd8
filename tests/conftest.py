"""Fixtures for data that the repository does not ship, and settings of hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "espalier",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("espalier")

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ESPALIER_DATA", ROOT.parent / "shared" / "data"))


def data_folder(name: str) -> Path:
    """A folder of test data, or a skip where it is absent."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; ESPALIER_DATA names the folder that holds {name}/")
    return folder


@pytest.fixture(scope="session")
def challenge_data() -> Path:
    """The official Graph Challenge files."""
    return data_folder("challenge")


@pytest.fixture(scope="session")
def mnist_data() -> Path:
    """MNIST as IDX files."""
    return data_folder("mnist")
