"""Devices: opened once, described, and refused by name where something is missing."""

from __future__ import annotations

import gc
import sys
from typing import Any
from unittest.mock import patch

import pytest

import espalier as esp
from espalier.cuda import Device, compiler, parse_device
from espalier.cuda import device as device_module
from espalier.cuda.driver import Driver
from tests.support.devices import emulated_device
from tests.support.emulator import load_emulator
from tests.support.fake_cuda import FakeCuda, Result

NET = esp.Network([esp.Layer([[1.0]], 0.0)])


@pytest.fixture(autouse=True)
def fresh() -> Any:
    """No device opened before, none left open."""
    device_module.open_device.cache_clear()
    device_module._driver.cache_clear()
    yield
    device_module.open_device.cache_clear()
    device_module._driver.cache_clear()


def driver(api: Any, nvrtc: tuple[int, int] = (13, 5)) -> Driver:
    with patch("espalier.cuda.driver.nvrtc_version", lambda: nvrtc):
        return Driver(api)


def test_a_device_knows_itself() -> None:
    device = emulated_device(capability=(8, 0), memory=1000)
    assert (device.name, device.architecture, device.free_bytes()) == (
        "Emulated GPU",
        "sm_80",
        1000,
    )
    assert repr(device) == "Device(cuda:0, Emulated GPU, sm_80)"


def test_compile_opens_the_device_it_is_told() -> None:
    fake = FakeCuda(load_emulator(), devices=2)
    with patch.object(device_module, "_driver", lambda: driver(fake)):
        plan = esp.compile(NET, device="cuda:1")
        assert isinstance(plan, esp.GpuPlan) and plan.device.ordinal == 1
        assert esp.compile(NET, device="cuda:1").device is plan.device
        with pytest.raises(esp.DeviceError, match=r"device is cuda:2, but this machine has 2 GPUs"):
            esp.compile(NET, device="cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", None, 0])
def test_unknown_devices_are_named(name: Any) -> None:
    with pytest.raises(esp.InputError, match="wanted 'cpu', 'cuda' or 'cuda:N'"):
        parse_device(name)
    with pytest.raises(esp.InputError, match="device is"):
        esp.compile(NET, device=name)


def test_no_driver() -> None:
    class Nothing:
        def cuInit(self, flags: int) -> None:  # noqa: N802
            raise RuntimeError("libcuda.so.1: cannot open shared object file")

    with pytest.raises(esp.DeviceError, match=r"no NVIDIA driver was found .* leave out device"):
        driver(Nothing())


def test_no_bindings() -> None:
    with (
        patch.dict(sys.modules, {"cuda.bindings": None, "cuda": None}),
        pytest.raises(esp.MissingExtraError, match=r"cuda-bindings.*pip install 'cuda-bindings"),
    ):
        esp.compile(NET, device="cuda")


def test_no_compiler() -> None:
    class Bindings:
        @staticmethod
        def nvrtcVersion() -> None:  # noqa: N802
            raise RuntimeError("libnvrtc.so not found")

    with (
        patch.object(compiler, "_nvrtc", Bindings),
        pytest.raises(
            esp.MissingExtraError, match=r"nvidia-cuda-nvrtc.*pip install 'cuda-bindings"
        ),
    ):
        compiler.nvrtc_version()


def test_no_gpu() -> None:
    with pytest.raises(esp.DeviceError, match="no NVIDIA GPU is visible"):
        driver(FakeCuda(load_emulator(), devices=0))


def test_an_old_driver() -> None:
    with pytest.raises(esp.DeviceError, match=r"for CUDA 12.4, older .*nvidia-cuda-nvrtc-cu12"):
        driver(FakeCuda(load_emulator(), version=12040))
    driver(FakeCuda(load_emulator(), version=13000))
    driver(FakeCuda(load_emulator(), version=12040), nvrtc=(12, 9))


def test_an_old_gpu() -> None:
    with pytest.raises(esp.DeviceError, match=r"compute capability 7.0, wanted 7.5 or newer"):
        Device(driver(FakeCuda(load_emulator(), capability=(7, 0))), 0)


def test_failures_of_the_driver_are_said_with_their_fix() -> None:
    device = emulated_device()
    device.driver.api.cuMemGetInfo = lambda: (Result.CUDA_ERROR_ILLEGAL_ADDRESS, 0, 0)
    with pytest.raises(esp.DeviceError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS: .* please report it"):
        device.free_bytes()
    device.driver.api.cuMemGetInfo = lambda: (Result.CUDA_ERROR_INVALID_VALUE, 0, 0)
    with pytest.raises(esp.DeviceError, match="cuMemGetInfo failed with CUDA_ERROR_INVALID_VALUE"):
        device.free_bytes()


def test_memory_runs_out_and_comes_back() -> None:
    device = emulated_device(memory=1000)
    held = device.allocate(800)
    with pytest.raises(esp.DeviceMemoryError, match="memory is used up"):
        device.allocate(800)
    held.free()
    held.free()
    assert device.allocate(800).bytes == 800


def test_pinned_memory_is_freed_with_the_last_array_that_reads_it() -> None:
    device = emulated_device()
    api = device.driver.api
    numbers, others = device.allocate_pinned(4), device.allocate_pinned(4)
    view = numbers[1:]
    del numbers
    gc.collect()
    assert len(api.pinned) == 2
    view[:] = 1
    del view
    gc.collect()
    assert list(api.pinned) == [others.ctypes.data]


def test_the_callers_context_comes_back_after_a_failure() -> None:
    device = emulated_device(memory=1000)
    with pytest.raises(esp.DeviceMemoryError):
        device.allocate(2000)
    assert device.driver.api.contexts == []
