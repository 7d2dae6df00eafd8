"""Networks and batches that exceed the device: streamed, split, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import espalier as esp
from espalier.cuda import Event
from espalier.inference.gpu import GpuPlan
from espalier.inference.gpu import memory_plan as memory_module
from espalier.inference.gpu import plan as plan_module
from espalier.inference.gpu.memory_plan import BufferWidths, plan_memory
from espalier.inference.plan import Options
from tests.support.devices import emulated_device

NET = esp.random_network([40, 33, 50, 33, 40, 20] * 3 + [20], connections=6)
PLAIN = Options(merge=False, fold=False)
LAZY = [frozenset(), frozenset({0, 1, 2, 3}), frozenset({1}), frozenset({2}), frozenset({3})]


def batch(samples: int) -> Any:
    rng = np.random.default_rng(0)
    return rng.random((samples, 40), np.float32) * (rng.random((samples, 40)) < 0.5)


@pytest.mark.parametrize("lazy", LAZY, ids=lambda lazy: f"late {sorted(lazy)}")
@pytest.mark.parametrize("resident", [True, False])
def test_streamed_weights_come_in_time_and_leave_in_time(lazy: Any, resident: bool) -> None:
    x = batch(300)
    expected = esp.compile(NET, merge=False, fold=False).run(x).activations
    device = emulated_device(lazy=lazy)
    plan = GpuPlan(NET, PLAIN, device, memory=140_000, resident=resident, tile=32)
    for _ in range(2):
        np.testing.assert_allclose(plan.run(x).activations, expected, rtol=1e-5, atol=1e-6)
    assert not plan.resident
    assert device.driver.api.most_used <= 140_000


def test_what_fits_stays_and_is_copied_once() -> None:
    device = emulated_device()
    plan = GpuPlan(NET, PLAIN, device, resident=False)
    x = batch(100)
    plan.run(x)
    assert plan.resident
    device.driver.api.copies.clear()
    plan.run(x)
    assert sum(size for kind, size in device.driver.api.copies if kind == "in") == x.nbytes


def test_networks_the_host_cannot_hold_are_packed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    x = batch(70)
    expected = esp.compile(NET).run(x, "zero").activations
    monkeypatch.setattr(plan_module, "check_memory", lambda given: given or 1)
    plan = GpuPlan(NET, Options(), emulated_device(), memory=140_000, tile=32)
    for _ in range(2):
        np.testing.assert_allclose(plan.run(x).activations, expected, rtol=1e-5, atol=1e-6)
    assert plan.program.packed is None


@pytest.mark.parametrize("as_csr", [False, True])
@pytest.mark.parametrize("output", ["dense", "csr", "device"])
def test_batches_and_pieces_of_batches_are_put_together(
    as_csr: bool, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "STAGING_BYTES", 2000)
    x: Any = batch(500)
    expected = esp.compile(NET).run(x, "zero")
    plan = GpuPlan(NET, Options(), emulated_device(), memory=200_000, tile=32)
    result = plan.run(sp.csr_array(x) if as_csr else x, output=output)
    assert len(result.outputs.batches) > 1
    activations = result.activations
    if output != "dense":
        activations = activations.toarray() if output == "csr" else activations.numpy()
    np.testing.assert_allclose(activations, expected.activations, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.categories, expected.categories)


def test_a_device_that_is_fuller_than_it_said_gets_less() -> None:
    device = emulated_device(memory=400_000)
    plan = GpuPlan(NET, PLAIN, device, memory=600_000, tile=32)
    x = batch(1000)
    result = plan.run(x)
    assert len(result.outputs.batches) > 1
    np.testing.assert_allclose(
        result.activations, esp.compile(NET).run(x).activations, rtol=1e-5, atol=1e-6
    )


def test_what_is_missing_is_said() -> None:
    plan = GpuPlan(NET, PLAIN, emulated_device(), memory=10_000)
    with pytest.raises(esp.DeviceMemoryError, match=r"need 0\.\d+ MiB: 0\.\d+ MiB are missing"):
        plan.run(batch(10))
    full = GpuPlan(NET, PLAIN, emulated_device(memory=20_000), memory=10_000_000)
    with pytest.raises(esp.DeviceMemoryError, match=r"memory is used up|are missing"):
        full.run(batch(10))
    assert isinstance(esp.DeviceMemoryError("x"), MemoryError)


def test_memory_is_given_back() -> None:
    device = emulated_device()
    plan = GpuPlan(NET, PLAIN, device)
    plan.run(batch(10))
    assert device.driver.api.used > 0
    plan.release()
    assert device.driver.api.used == 0
    plan.run(batch(10))
    del plan
    import gc

    gc.collect()
    assert device.driver.api.used == 0


def test_fit_prefers_weights_that_stay() -> None:
    widths = BufferWidths(1000, 1000)
    assert plan_memory(1 << 30, widths, [1000] * 9, 60_000, 64, 1000).resident
    tight = plan_memory(40_000_000, widths, [4_000_000] * 8, 60_000, 64, 1000)
    assert not tight.resident and tight.slots % 64 == 0
    pair = plan_memory(40_000_000, widths, [4_000_000] * 2, 60_000, 64, 1000)
    assert pair.resident  # streaming two of two segments saves nothing


def test_late_streams_show_a_wait_that_is_missing() -> None:
    """The check of the check."""
    device = emulated_device(lazy=frozenset({1}))
    late, early = device.stream_for(device), device.stream_for(device)
    memory, found = device.allocate(4), np.zeros(1, np.float32)
    device.copy_in(memory.address, np.ones(1, np.float32), late)
    device.copy_out(found, memory.address, early)
    assert np.isnan(found[0])
    done = Event(device)
    done.record(late)
    done.wait_in(early)
    device.copy_out(found, memory.address, early)
    assert found[0] == 1.0
