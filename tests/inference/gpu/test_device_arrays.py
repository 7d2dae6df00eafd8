"""Samples that lie on the device are read in place, results are left there."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import espalier as esp
from espalier.cuda.arrays import as_stream, read_device_array
from espalier.inference.gpu import GpuPlan
from espalier.inference.plan import Options
from tests.support.device_arrays import FakeDeviceArray, FakeDeviceCsr, FakeDlpackArray
from tests.support.devices import emulated_device

NET = esp.random_network([24, 33, 20], connections=6)
ROWS = np.random.default_rng(0).random((70, 24), np.float32)
EXPECTED = esp.compile(NET).run(ROWS, "zero").activations


@pytest.fixture
def plan() -> GpuPlan:
    return GpuPlan(NET, Options(), emulated_device())


def arranged(layout: str) -> Any:
    if layout == "rows":
        return ROWS
    if layout == "features":
        return np.asfortranarray(ROWS)
    if layout == "every other":
        return np.repeat(np.repeat(ROWS, 2, axis=0), 2, axis=1)[::2, ::2]
    return np.concatenate([ROWS, ROWS], axis=1)[:, 24:]


@pytest.mark.parametrize("layout", ["rows", "features", "every other", "right half"])
def test_device_arrays_of_any_strides_are_read_without_a_copy(plan: GpuPlan, layout: str) -> None:
    x = FakeDeviceArray(plan.device, arranged(layout))
    plan.run(x)  # weights are copied once
    plan.device.driver.api.copies.clear()
    result = plan.run(x)
    np.testing.assert_allclose(result.activations, EXPECTED, rtol=1e-5, atol=1e-6)
    assert all(kind == "out" for kind, _ in plan.device.driver.api.copies)


@pytest.mark.parametrize("layout", ["rows", "features", "right half"])
def test_arrays_by_dlpack_are_read_in_place_on_our_stream(plan: GpuPlan, layout: str) -> None:
    x = FakeDlpackArray(plan.device, arranged(layout))
    np.testing.assert_allclose(plan.run(x).activations, EXPECTED, rtol=1e-5, atol=1e-6)
    assert x.streams == [plan.stream]
    plan.run(x, stream=0)
    assert x.streams == [plan.stream, 1]


def test_dlpack_without_strides_and_with_what_does_not_fit(plan: GpuPlan) -> None:
    x = FakeDlpackArray(plan.device, ROWS, strides=False)
    np.testing.assert_allclose(plan.run(x).activations, EXPECTED, rtol=1e-5, atol=1e-6)
    with pytest.raises(esp.InputError, match="x holds float64 on the device"):
        plan.run(FakeDlpackArray(plan.device, ROWS.astype(np.float64)))
    with pytest.raises(esp.InputError, match="numbers that numpy has no type for"):
        plan.run(FakeDlpackArray(plan.device, ROWS.astype(np.complex64)))
    with pytest.raises(esp.DeviceError, match="x lies on cuda:1, wanted cuda:0"):
        plan.run(FakeDlpackArray(plan.device, ROWS, place=(2, 1)))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_csr_on_the_device(plan: GpuPlan, dtype: Any) -> None:
    sparse = sp.csr_array(ROWS * (ROWS < 0.4))
    x = FakeDeviceCsr(plan.device, sparse, dtype)
    expected = plan.run(sparse).activations
    np.testing.assert_array_equal(plan.run(x).activations, expected)
    small = GpuPlan(NET, Options(), plan.device, memory=30_000, tile=32)
    result = small.run(x)
    assert len(result.outputs.batches) > 1
    np.testing.assert_array_equal(result.activations, expected)


def test_results_stay_on_the_device_and_feed_the_next_run(plan: GpuPlan) -> None:
    first = plan.run(FakeDeviceArray(plan.device, ROWS), output="device").activations
    assert first.shape == EXPECTED.shape and "float32 [70, 20]" in repr(first)
    np.testing.assert_allclose(first.numpy(), EXPECTED, rtol=1e-5, atol=1e-6)
    again = GpuPlan(esp.Network([esp.Layer(np.eye(20), 0.0)]), Options(), plan.device)
    np.testing.assert_array_equal(again.run(first).activations, first.numpy())


def test_work_goes_to_the_callers_stream(plan: GpuPlan) -> None:
    device = emulated_device(lazy=frozenset({2}))
    plan = GpuPlan(NET, Options(), device)
    theirs = device.stream_for(device)
    assert theirs == 2
    x = FakeDeviceArray(device, ROWS, stream=theirs)
    late = device.allocate(ROWS.nbytes)
    x.__cuda_array_interface__["data"] = (late.address, False)
    device.copy_in(late.address, ROWS, theirs)  # which has not happened yet
    np.testing.assert_allclose(plan.run(x).activations, EXPECTED, rtol=1e-5, atol=1e-6)
    device.copy_in(late.address, ROWS[::-1].copy(), theirs)
    del x.__cuda_array_interface__["stream"]
    result = plan.run(x, stream=SimpleNamespace(cuda_stream=theirs))
    np.testing.assert_allclose(result.activations, EXPECTED[::-1], rtol=1e-5, atol=1e-6)


def test_a_stream_of_ours_waits_for_the_one_the_array_is_made_on() -> None:
    device = emulated_device(lazy=frozenset({2, 3}))
    plan = GpuPlan(NET, Options(), device)
    theirs, ours = device.stream_for(device), device.stream_for(device)
    assert (theirs, ours) == (2, 3)
    x = FakeDeviceArray(device, ROWS, stream=theirs)
    late = device.allocate(ROWS.nbytes)
    x.__cuda_array_interface__["data"] = (late.address, False)
    device.copy_in(late.address, ROWS, theirs)
    result = plan.run(x, stream=ours)
    np.testing.assert_allclose(result.activations, EXPECTED, rtol=1e-5, atol=1e-6)


def test_nothing_is_left_behind() -> None:
    device = emulated_device()
    for _ in range(3):
        plan = GpuPlan(NET, Options(), device)
        plan.run(ROWS)
        del plan
        gc.collect()
    api = device.driver.api
    assert len(api.streams) == 2  # the default one, and the one that all three had in turn
    assert not api.events and not api.allocations and not api.pinned


def test_streams_of_others() -> None:
    assert as_stream(SimpleNamespace(ptr=5)) == 5
    assert as_stream(SimpleNamespace(__cuda_stream__=lambda: (0, 9))) == 9
    with pytest.raises(esp.InputError, match="stream is a str"):
        as_stream("fast")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (ROWS.astype(np.float64), "x holds float64 on the device, wanted float32"),
        (ROWS[:, :5], r"x has shape \(70, 5\), wanted \[samples, 24\]"),
        (ROWS[0], r"x has shape \(24,\), wanted \[samples, 24\]"),
        (np.full((3, 24), np.nan, np.float32), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_named(plan: GpuPlan, array: Any, says: str) -> None:
    with pytest.raises(esp.InputError, match=says):
        plan.run(FakeDeviceArray(plan.device, array))


def test_csr_that_does_not_fit_is_named(plan: GpuPlan) -> None:
    sparse = sp.csr_array(ROWS)
    wide = FakeDeviceCsr(plan.device, sparse.astype(np.float64))
    with pytest.raises(esp.InputError, match="x holds float64"):
        plan.run(wide)
    x = FakeDeviceCsr(plan.device, sparse)
    x.indices = FakeDeviceArray(plan.device, sparse.indices.astype(np.int64))
    with pytest.raises(esp.InputError, match="wanted both int32 or both int64"):
        plan.run(x)
    x = FakeDeviceCsr(plan.device, sparse)
    x.has_canonical_format = False
    with pytest.raises(esp.InputError, match=r"call x.sum_duplicates\(\)"):
        plan.run(x)
    x = FakeDeviceCsr(plan.device, sparse)
    x.data = FakeDeviceArray(plan.device, np.repeat(sparse.data, 2)[::2])
    with pytest.raises(esp.InputError, match="arrays with gaps"):
        plan.run(x)
    x = FakeDeviceCsr(plan.device, sparse)
    x.indices = FakeDeviceArray(plan.device, np.full(sparse.nnz, 24, np.int32))
    with pytest.raises(esp.InputError, match="a column outside"):
        plan.run(x)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda offsets: offsets[:-1], r"x.indptr has shape \(70,\), wanted \[71\]"),
        (lambda offsets: offsets + 1, "must start at 0"),
        (lambda offsets: np.concatenate([offsets[:-1], [0]]), "never fall"),
        (lambda offsets: np.concatenate([offsets[:-1], offsets[-1:] + 1]), "offsets say"),
    ],
)
def test_offsets_on_the_device_that_would_lead_outside_are_refused(
    plan: GpuPlan, change: Any, says: str
) -> None:
    sparse = sp.csr_array(ROWS)
    x = FakeDeviceCsr(plan.device, sparse)
    x.indptr = FakeDeviceArray(plan.device, change(sparse.indptr).astype(np.int32))
    with pytest.raises(esp.InputError, match=says):
        plan.run(x)


def test_masks_and_odd_strides_are_refused(plan: GpuPlan) -> None:
    masked = FakeDeviceArray(plan.device, ROWS, mask=object())
    with pytest.raises(esp.InputError, match="x has a mask"):
        read_device_array("x", masked, plan.device, 0)
    odd = FakeDeviceArray(plan.device, ROWS, strides=(98, 4))
    with pytest.raises(esp.InputError, match="whole numbers of float32"):
        read_device_array("x", odd, plan.device, 0)


def test_arrays_of_another_device_are_named(plan: GpuPlan) -> None:
    x = FakeDeviceArray(plan.device, ROWS)
    plan.device.driver.api.ordinal_of = 1
    with pytest.raises(esp.DeviceError, match=r"x lies on cuda:1, wanted cuda:0; move it there"):
        plan.run(x)
    stranger = FakeDeviceArray(plan.device, ROWS, data=(12345, False))
    with pytest.raises(esp.DeviceError, match="x is no array of this driver"):
        plan.run(stranger)


@pytest.mark.parametrize("as_csr", [False, True])
def test_bad_samples_of_the_host_are_named(plan: GpuPlan, as_csr: bool) -> None:
    x = ROWS.copy()
    x[41, 3] = np.inf
    with pytest.raises(esp.InputError, match=r"x\[41, 3\] is inf"):
        plan.run(sp.csr_array(x) if as_csr else x)
    with pytest.raises(esp.InputError, match="the network reads 24"):
        plan.run(ROWS[:, :20])
    np.testing.assert_allclose(plan.run(ROWS).activations, EXPECTED, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("resident", [True, False])
def test_activations_that_overflow_are_an_error(resident: bool) -> None:
    net = esp.Network([esp.Layer([[3e38]], 0.0), esp.Layer([[3e38]], 0.0)])
    plan = GpuPlan(net, Options(), emulated_device(), resident=resident)
    with pytest.raises(esp.InputError, match="grow beyond what float32 holds"):
        plan.run([[1.0]])


def test_options_are_checked(plan: GpuPlan) -> None:
    wrong: Any = "all"
    with pytest.raises(esp.InputError, match="filter is 'all'"):
        plan.run(ROWS, wrong)
    with pytest.raises(esp.InputError, match="output is 'all'"):
        plan.run(ROWS, output=wrong)
    with pytest.raises(esp.InputError, match="memory is 0"):
        GpuPlan(NET, Options(), plan.device, memory=0)
