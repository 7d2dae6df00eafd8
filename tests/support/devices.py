"""Emulated devices for tests."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from espalier.cuda import Device
from espalier.cuda import device as device_module
from espalier.cuda.driver import Driver
from tests.support.emulator import load_emulator
from tests.support.fake_cuda import FakeCuda


def emulated_device(**options: Any) -> Device:
    """A GPU whose kernels run on the CPU; options as `FakeCuda` takes them."""
    with patch("espalier.cuda.driver.nvrtc_version", lambda: (13, 5)):
        return Device(Driver(FakeCuda(load_emulator(), **options)), 0)


def without_compiler() -> Any:
    """Within this context machine code is empty: the emulator does not want it."""
    return patch.object(device_module, "machine_code", lambda name, architecture: b"\0")
