"""GPU plans compute what the CPU's compute, to the bit, whatever they choose."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.inference.gpu import GpuPlan
from espalier.inference.plan import Options
from espalier.kernels import instruction_set, reference
from tests.support.devices import emulated_device
from tests.support.networks import Case, cases

RESULTS = ("dense", "csr", "device")


class Choice(NamedTuple):
    """What must not show in the result's bits."""

    tile: int = 64
    resident: bool = True
    group: bool = True
    fixed_point: bool = True
    filter: Any = "zero"
    output: Any = "dense"
    shared: int = 227 << 10
    seed: int = 0


choices = st.builds(
    Choice,
    tile=st.sampled_from((32, 64, 128)),
    resident=st.booleans(),
    group=st.booleans(),
    fixed_point=st.booleans(),
    filter=st.sampled_from(("none", "zero", "unique")),
    output=st.sampled_from(RESULTS),
    shared=st.sampled_from((227 << 10, 16 << 10, 4 << 10)),
    seed=st.sampled_from((0, 1, 2)),
)


def run(case: Case, choice: Choice, merge: bool, fold: bool) -> tuple[Any, Any]:
    device = emulated_device(shared=choice.shared)
    device.driver.api.emulator.seed = choice.seed
    options = Options(merge, fold, choice.group, choice.fixed_point)
    plan = GpuPlan(case.network, options, device, tile=choice.tile, resident=choice.resident)
    result = plan.run(case.x, choice.filter, output=choice.output)
    assert not device.driver.api.contexts
    activations = result.activations
    if choice.output == "device":
        activations = activations.numpy()
    assert sp.issparse(activations) == (choice.output == "csr")
    return activations.toarray() if choice.output == "csr" else activations, result.categories


@settings(max_examples=60)
@given(case=cases(), choice=choices, merge=st.booleans(), fold=st.booleans())
def test_exact_cases_agree_with_the_reference_bit_for_bit(
    case: Case, choice: Choice, merge: bool, fold: bool
) -> None:
    activations, categories = run(case, choice, merge, fold)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(activations, expected)
    np.testing.assert_array_equal(categories, np.flatnonzero(expected.any(axis=1)))


@settings(max_examples=40)
@given(
    case=cases(exact=False, max_layers=10), choice=choices, merge=st.booleans(), fold=st.booleans()
)
def test_rough_cases_have_the_bits_of_the_cpu(
    case: Case, choice: Choice, merge: bool, fold: bool
) -> None:
    x = sp.csr_array(case.rows) if sp.issparse(case.x) else case.rows
    activations, categories = run(Case(case.network, case.rows, x), choice, merge, fold)
    expected = esp.compile(case.network, merge=merge, fold=fold).run(x)
    if instruction_set() == "scalar":  # whose multiply-adds round twice
        bound = reference.tolerance(case.network, case.rows)
        np.testing.assert_allclose(activations, expected.activations, rtol=0.0, atol=2 * bound)
        return
    np.testing.assert_array_equal(activations, expected.activations)
    np.testing.assert_array_equal(categories, expected.categories)


RADIX = esp.radixnet(256, 20, radices=[2, 2, 2, 2], kronecker=16, bias=-0.2)
IMAGES = esp.challenge_images(256, 150)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("resident", [True, False])
def test_a_challenge_network_dies_freezes_and_reports_it(
    merge: bool, group: bool, resident: bool
) -> None:
    options = Options(merge=merge, group=group)
    plan = GpuPlan(RADIX, options, emulated_device(), resident=resident)
    result, expected = plan.run(IMAGES), esp.compile(RADIX, merge=merge).run(IMAGES, "zero")
    assert 0 < len(result.categories) < len(IMAGES.toarray())
    np.testing.assert_allclose(result.activations, expected.activations, rtol=1e-5)
    report = result.report()
    used = {each.name for each in report.shortcuts if each.used}
    assert {"zero filter", "fixed point"} <= used
    assert ("merge" in used) == merge
    assert report.effective_operations < report.nominal_operations
    assert report.live_operations <= report.effective_operations
    assert report.instruction_set == "sm_90, on the GPU"
    assert result.device_seconds.layers > 0.0
    assert "sm_90" in plan.describe() and "GpuPlan(" in repr(plan)


def test_work_counts_are_those_of_the_cpu_without_shortcuts() -> None:
    options = Options(merge=False, fold=False, group=False, fixed_point=False)
    net = esp.random_network([40, 33, 50, 20], connections=6)
    x = np.ones((70, 40), np.float32)
    expected = esp.compile(net, **vars(options)).run(x, "none").report()
    for resident in (True, False):
        plan = GpuPlan(net, options, emulated_device(), resident=resident)
        found = plan.run(x, "none").report()
        if resident:  # whole slices are multiplied
            assert found.effective_operations >= expected.effective_operations
        else:
            assert found.effective_operations == expected.effective_operations


def test_the_host_stops_giving_work_when_nobody_is_left() -> None:
    net = esp.Network([esp.Layer(np.eye(4), -1.0)] * 60)
    device = emulated_device()
    plan = GpuPlan(net, Options(merge=False), device, resident=False)
    result = plan.run(np.full((5, 4), 3.0, np.float32))
    assert not len(result.categories)
    assert sum(name.startswith(("rows", "blocks")) for name in device.driver.api.launches) < 20
    assert not result.activations.any()


def test_a_plan_runs_again_with_more_and_fewer_samples() -> None:
    plan = GpuPlan(RADIX, Options(), emulated_device())
    expected = esp.compile(RADIX).run(IMAGES, "zero").activations
    for count in (10, 150, 0, 3):
        np.testing.assert_allclose(
            plan.run(IMAGES[:count]).activations, expected[:count], rtol=1e-5
        )
    plan.release()
    np.testing.assert_allclose(plan.run(IMAGES).activations, expected, rtol=1e-5)


def test_lazy_networks_and_progress() -> None:
    compiling: list[tuple[int, int]] = []
    running: list[tuple[int, int]] = []
    plan = GpuPlan(
        RADIX, Options(), emulated_device(), progress=lambda *call: compiling.append(call)
    )
    assert compiling[-1] == (20, 20) and compiling == sorted(compiling)
    plan.run(IMAGES, progress=lambda *call: running.append(call))
    assert running[-1][0] == running[-1][1] > 0
