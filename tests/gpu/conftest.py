"""Tests on a real GPU; `benchmarks/gpu.py` runs them where there is one."""

from __future__ import annotations

import pytest

from espalier.cuda import Device, open_device
from espalier.errors import DeviceError, MissingExtraError


@pytest.fixture(scope="session")
def gpu() -> Device:
    """The first GPU of this machine."""
    try:
        return open_device(0)
    except (DeviceError, MissingExtraError) as error:
        pytest.skip(f"no GPU to run on: {error}")
