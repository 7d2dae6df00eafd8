"""The FSSL paper's strategies by cuSPARSE agree with the reference and with the CPU's."""

from __future__ import annotations

import ctypes
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.inference import STRATEGIES, StrategyPlan, compile_strategy
from espalier.inference.strategies import cusparse
from espalier.inference.strategies.gpu import GpuStrategyPlan
from espalier.kernels import reference
from espalier.simplify.invariants import find_invariants
from tests.support.devices import emulated_device
from tests.support.fake_cusparse import FakeCusparse
from tests.support.networks import Case, cases

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
NET = esp.Network([esp.Layer(np.eye(4), -1.0)] * 6)
SAMPLES = np.repeat(np.arange(9.0)[:, None], 4, axis=1)


def plan_of(network: esp.Network, strategy: str, **options: Any) -> GpuStrategyPlan:
    library = options.pop("library", None) or FakeCusparse()
    return GpuStrategyPlan(network, strategy, emulated_device(**options), library)


@settings(max_examples=40)
@given(case=cases(max_layers=8), strategy=st.sampled_from(STRATEGIES))
def test_exact_cases_agree_with_the_reference_bit_for_bit(case: Case, strategy: str) -> None:
    assume(all(find_invariants(layer).zero_stays_zero for layer in case.network))
    plan = plan_of(case.network, strategy)
    expected = reference.infer(case.network, case.rows)
    result = plan.run(case.x)
    np.testing.assert_array_equal(result.activations.toarray(), expected)
    np.testing.assert_array_equal(result.categories, np.flatnonzero(expected.any(axis=1)))
    np.testing.assert_array_equal(plan.run(case.x, output="dense").activations, expected)
    assert not plan.library.objects  # all were given back


@every_strategy
def test_reports_are_those_of_the_cpu(strategy: Any) -> None:
    found = plan_of(NET, strategy).run(SAMPLES)
    expected = StrategyPlan(NET, strategy).run(SAMPLES).report()
    report = found.report()
    assert report.effective_operations == expected.effective_operations
    assert report.shortcuts == expected.shortcuts
    assert (report.strategy, report.filter) == (strategy, expected.filter)
    assert "cuSPARSE" in report.instruction_set
    assert found.categories.tolist() == [7, 8]
    assert found.device_seconds.layers > 0.0


@every_strategy
def test_buffers_are_kept_or_not(strategy: str) -> None:
    plan = plan_of(NET, strategy)
    allocated: list[int] = []
    allocate = plan.device.allocate
    plan.device.allocate = lambda size: allocated.append(size) or allocate(size)  # type: ignore
    plan.run(SAMPLES)
    per_layer = 11
    assert (len(allocated) > per_layer * 5) == (strategy == "no-buffer")


@every_strategy
def test_more_rows_than_a_scan_takes_at_once(strategy: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2500, 3)) * (rng.random((2500, 3)) < 0.3)
    net = esp.Network([esp.Layer(np.eye(3), -1.0), esp.Layer(np.ones((40, 3)), 0.0)])
    found = plan_of(net, strategy).run(sp.csr_array(x.astype(np.float32)))
    np.testing.assert_array_equal(found.activations.toarray(), reference.infer(net, x))


@pytest.mark.parametrize("options", [{"memory": 30_000}, {"library": FakeCusparse(400)}])
def test_where_memory_is_short_half_of_the_samples_run(options: Any) -> None:
    x = np.ones((600, 4), np.float32) * 9
    plan = plan_of(NET, "buffer", **options)
    progress: list[tuple[int, int]] = []
    result = plan.run(x, progress=lambda *call: progress.append(call))
    np.testing.assert_array_equal(result.activations.toarray(), reference.infer(NET, x))
    assert len(result.categories) == 600
    assert progress[-1] == (6, 6)


def test_without_memory_for_a_few_samples_it_says_so() -> None:
    plan = plan_of(NET, "buffer", library=FakeCusparse(3))
    with pytest.raises(esp.DeviceMemoryError, match="run fewer samples"):
        plan.run(SAMPLES)


def test_layers_that_wake_zeros_are_refused() -> None:
    net = esp.Network([esp.Layer(np.eye(2), -1.0), esp.Layer(np.eye(2), 0.5)])
    with pytest.raises(esp.InputError, match="layer 1 has a bias that makes something of a zero"):
        plan_of(net, "filter")


def test_bad_samples_and_overflow_are_named() -> None:
    plan = plan_of(NET, "filter")
    with pytest.raises(esp.InputError, match=r"x\[0, 1\] is inf"):
        plan.run([[1.0, np.inf, 0.0, 0.0]])
    big = esp.Network([esp.Layer([[3e38]], 0.0), esp.Layer([[3e38]], 0.0)])
    with pytest.raises(esp.InputError, match="grow beyond what float32 holds"):
        plan_of(big, "buffer").run([[1.0]])


def test_the_door_leads_to_both() -> None:
    assert isinstance(compile_strategy(NET, "filter"), StrategyPlan)
    device = emulated_device()
    with (
        patch("espalier.inference.strategies.cpu.open_device", return_value=device),
        patch("espalier.inference.strategies.gpu.load_library", FakeCusparse),
    ):
        plan = compile_strategy(NET, "filter", device="cuda")
    assert isinstance(plan, GpuStrategyPlan) and plan.device is device


def test_a_library_that_is_missing_is_named() -> None:
    cusparse.load_library.cache_clear()
    with (
        patch("cuda.pathfinder.load_nvidia_dynamic_lib", side_effect=RuntimeError("not found")),
        pytest.raises(esp.MissingExtraError, match=r"nvidia-cusparse.*pip install 'cuda-bindings"),
    ):
        cusparse.load_library()


def test_other_failures_keep_their_number() -> None:
    device = emulated_device()
    library = cusparse.Cusparse(FakeCusparse(), device, 0)
    library._library.cusparseSetStream = lambda *arguments: 7
    with pytest.raises(esp.DeviceError, match="cusparseSetStream failed with status 7"):
        library.call("cusparseSetStream", None, None)


def test_dense_products() -> None:
    device = emulated_device()
    library = cusparse.Cusparse(FakeCusparse(), device, 0)
    weights = sp.csr_array(np.float32([[1, 0, 2], [0, 3, 0]]))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = [weights.indptr.astype(np.int32), weights.indices.astype(np.int32), weights.data, x]
    memory = [device.allocate(array.nbytes) for array in arrays]
    for held, array in zip(memory, arrays, strict=True):
        device.copy_in(held.address, array, 0)
    result, found = device.allocate(32), np.zeros((2, 4), np.float32)
    left = library.csr((2, 3), 3, *(held.address for held in memory[:3]))
    product = library.spmm(left, memory[3].address, result.address, 4)
    buffer = device.allocate(product.buffer_bytes)
    product.run(buffer.address)
    device.copy_out(found, result.address, 0)
    np.testing.assert_array_equal(found, weights @ x)
    product.free()
    left.free()
    assert ctypes.sizeof(ctypes.c_void_p) == 8
