"""The whole library on an emulated GPU: whoever opens ``cuda`` gets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.challenge import cusparse_peer
from espalier.cuda import device as device_module
from espalier.cuda.driver import Driver
from espalier.inference.strategies import gpu as strategies
from tests.support.devices import without_compiler
from tests.support.emulator import load_emulator
from tests.support.fake_cuda import FakeCuda
from tests.support.fake_cusparse import FakeCusparse


@contextmanager
def emulated_gpu(**options: Any) -> Iterator[FakeCuda]:
    """Within this context ``device="cuda"`` is emulated, cuSPARSE too."""
    fake = FakeCuda(load_emulator(), **options)
    with patch("espalier.cuda.driver.nvrtc_version", lambda: (13, 5)):
        driver = Driver(fake)
    device_module.open_device.cache_clear()
    with (
        without_compiler(),
        patch.object(device_module, "_driver", lambda: driver),
        patch.object(strategies, "load_library", FakeCusparse),
        patch.object(cusparse_peer, "load_library", FakeCusparse),
    ):
        yield fake
    device_module.open_device.cache_clear()
