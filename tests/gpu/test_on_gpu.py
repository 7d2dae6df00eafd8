"""The same promises as the emulated tests make, kept by a real GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.cuda import Device
from espalier.inference import STRATEGIES, compile_strategy
from espalier.inference.gpu import GpuPlan
from espalier.inference.plan import Options
from espalier.kernels import instruction_set, reference
from espalier.simplify.invariants import find_invariants
from tests.support.networks import Case, cases

pytestmark = pytest.mark.gpu

options = st.builds(
    Options, merge=st.booleans(), fold=st.booleans(), group=st.booleans(), fixed_point=st.booleans()
)
filters = st.sampled_from(("none", "zero"))
tiles = st.sampled_from((32, 64, 128))


@settings(max_examples=60)
@given(case=cases(), option=options, filter=filters, tile=tiles, resident=st.booleans())
def test_exact_cases_agree_with_the_reference_bit_for_bit(
    gpu: Device, case: Case, option: Options, filter: Any, tile: int, resident: bool
) -> None:
    plan = GpuPlan(case.network, option, gpu, tile=tile, resident=resident)
    result = plan.run(case.x, filter)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(result.activations, expected)
    np.testing.assert_array_equal(result.categories, np.flatnonzero(expected.any(axis=1)))
    device = plan.run(case.x, filter, output="device").activations
    np.testing.assert_array_equal(device.numpy(), expected)


@settings(max_examples=40)
@given(case=cases(exact=False, max_layers=10), option=options, resident=st.booleans())
def test_rough_cases_have_the_bits_of_the_cpu(
    gpu: Device, case: Case, option: Options, resident: bool
) -> None:
    x = sp.csr_array(case.rows) if sp.issparse(case.x) else case.rows
    found = GpuPlan(case.network, option, gpu, resident=resident).run(x)
    expected = esp.compile(case.network, merge=option.merge, fold=option.fold).run(x)
    if instruction_set() == "scalar":
        pytest.skip("scalar kernels round twice")
    np.testing.assert_array_equal(found.activations, expected.activations)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("neurons", [1024, 4096])
def test_challenge_networks_have_the_categories_of_the_cpu(
    gpu: Device, neurons: int, merge: bool
) -> None:
    net, x = esp.radixnet(neurons, 60, seed=0), esp.challenge_images(neurons, 3000, seed=0)
    plan = GpuPlan(net, Options(merge=merge), gpu)
    found, expected = plan.run(x), esp.compile(net, merge=merge).run(x)
    np.testing.assert_array_equal(found.categories, expected.categories)
    np.testing.assert_allclose(found.activations, expected.activations, rtol=1e-4, atol=1e-5)
    again = plan.run(x)
    np.testing.assert_array_equal(again.activations, found.activations)


def test_official_data(gpu: Device, challenge_data: Any) -> None:
    net = esp.load(challenge_data / "neuron1024.tar.gz", bias=-0.30, clip=32.0)
    (images,) = challenge_data.glob("sparse-images-1024*.tsv.gz")
    x = esp.load_inputs(images, width=1024)
    truth = esp.load_categories(challenge_data / "neuron1024-l120-categories.tsv")
    found = GpuPlan(net, Options(), gpu).run(x).categories
    np.testing.assert_array_equal(found, truth[truth < x.shape[0]])


@pytest.mark.parametrize("resident", [True, False])
def test_streamed_weights_give_the_same_bits(gpu: Device, resident: bool) -> None:
    net = esp.random_network(512, 40)
    x = np.random.default_rng(0).random((5000, 512), np.float32)
    plain = Options(merge=False, fold=False)
    expected = GpuPlan(net, plain, gpu, resident=resident).run(x).activations
    tight = GpuPlan(net, plain, gpu, memory=6_000_000, resident=resident)
    for _ in range(3):
        np.testing.assert_array_equal(tight.run(x).activations, expected)
    assert not tight.resident


def test_a_network_that_does_not_fit_says_so(gpu: Device) -> None:
    plan = GpuPlan(esp.random_network(512, 4), Options(), gpu, memory=10_000)
    with pytest.raises(esp.DeviceMemoryError, match="are missing"):
        plan.run(np.ones((10, 512), np.float32))


def test_tensors_and_cupy_arrays_are_read_in_place_on_their_stream(gpu: Device) -> None:
    net = esp.random_network(512, 6)
    rows = np.random.default_rng(0).random((3000, 512), np.float32)
    plan = GpuPlan(net, Options(), gpu)
    expected = plan.run(rows).activations
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = torch.from_numpy(rows).cuda(non_blocking=True) * 1.0
        found = plan.run(x, output="device").activations
        y = torch.as_tensor(found, device="cuda")
        np.testing.assert_array_equal(y.cpu().numpy(), expected)
        turned = plan.run(x.t().contiguous().t()).activations
        np.testing.assert_array_equal(turned, expected)
    cupy = pytest.importorskip("cupy")
    np.testing.assert_array_equal(plan.run(cupy.asarray(rows)).activations, expected)
    csr = pytest.importorskip("cupyx.scipy.sparse").csr_matrix(cupy.asarray(rows))
    np.testing.assert_array_equal(plan.run(csr).activations, expected)


@settings(max_examples=15)
@given(case=cases(max_layers=6), strategy=st.sampled_from(STRATEGIES))
def test_cusparse_strategies_agree_with_the_reference(
    gpu: Device, case: Case, strategy: Any
) -> None:
    assume(all(find_invariants(layer).zero_stays_zero for layer in case.network))
    assume(min(case.network.inputs, *(layer.outputs for layer in case.network)) > 0)
    plan = compile_strategy(case.network, strategy, device="cuda")
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(plan.run(case.x).activations.toarray(), expected)


@pytest.mark.parametrize("shape", [(1, 7, 5), (64, 300, 200), (65, 33, 1000), (1024, 512, 512)])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_sparse_linear_agrees_with_dense(
    gpu: Device, shape: tuple[int, int, int], name: str
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    import espalier.nn as enn

    batch, rows, columns = shape
    dtype = getattr(torch, name)
    layer = enn.SparseLinear(columns, rows, density=0.1, device="cuda", dtype=dtype)
    x = torch.randn(batch, columns, device="cuda", dtype=dtype, requires_grad=True)
    dy = torch.randn(batch, rows, device="cuda", dtype=dtype)
    y = layer(x)
    y.backward(dy)
    weight, mask = layer.to_dense().detach().double(), torch.from_numpy(layer.pattern.toarray())
    x64, dy64 = x.detach().double(), dy.double()
    pairs = [
        (y.detach(), x64 @ weight.T + layer.bias.double()),
        (x.grad, dy64 @ weight),
        (layer.values.grad, (dy64.T @ x64)[mask.cuda()]),
        (layer.bias.grad, dy64.sum(0)),
    ]
    rounding = 1e-4 if name == "float32" else 2.0**-5
    for mine, theirs in pairs:
        size = theirs.abs().max()
        assert (mine.double() - theirs).abs().max() <= rounding * size
    assert torch.equal(layer(x), y)


def test_small_for_the_sanitizer(gpu: Device) -> None:
    """Every inference kernel once, on little: what compute-sanitizer is run over."""
    net = esp.radixnet(256, 12, radices=[2, 2, 2, 2], kronecker=16, bias=-0.2)
    x = esp.challenge_images(256, 100)
    for group, resident in ((True, False), (False, False), (False, True)):
        plan = GpuPlan(net, Options(merge=False, group=group), gpu, resident=resident)
        for batch in (x, x.toarray()):
            plan.run(batch)
        plan.run(x, output="device")
