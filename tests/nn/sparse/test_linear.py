"""SparseLinear against a dense layer: values, gradients, shapes, patterns, saving and loading."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn
from torch.nn import functional

from espalier import InputError
from espalier.nn import SparseLinear
from espalier.nn.sparse import autograd as product


def dense_twin(layer: SparseLinear) -> nn.Linear:
    twin = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    with torch.no_grad():
        twin.weight.copy_(layer.to_dense())
        if layer.bias is not None:
            twin.bias.copy_(layer.bias)
    return twin.to(layer.values.dtype)


def holes(rows: int, columns: int) -> np.ndarray:
    """A mask with an empty row and an empty column."""
    mask = np.random.default_rng(0).random((rows, columns)) < 0.4
    mask[1] = False
    mask[:, 2] = False
    return mask


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(9,), (1, 9), (5, 9), (0, 9), (128, 9), (200, 9), (3, 4, 9)])
def test_forward_and_backward_are_those_of_a_dense_layer(shape, bias):
    layer = SparseLinear(9, 7, bias, pattern=holes(7, 9))
    if bias:
        nn.init.normal_(layer.bias)
    twin = dense_twin(layer)
    x, y = torch.randn(shape, requires_grad=True), []
    for each in (layer, twin):
        y.append(each(x))
        y[-1].square().sum().backward()
        y.append(x.grad)
        x.grad = None
    torch.testing.assert_close(y[:2], y[2:], rtol=1e-4, atol=1e-5)
    mask = torch.from_numpy(holes(7, 9))
    torch.testing.assert_close(layer.values.grad, twin.weight.grad[mask], rtol=1e-4, atol=1e-5)
    if bias:
        torch.testing.assert_close(layer.bias.grad, twin.bias.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_patterns_of_nothing_and_of_everything(density):
    layer = SparseLinear(6, 5, density=density)
    x = torch.randn(4, 6, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, dense_twin(layer)(x))
    y.sum().backward()
    assert layer.values.grad.shape == (layer.nonzeros,)
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda x: x.t().contiguous().t(),
        lambda x: torch.stack([x, x], 2)[:, :, 0],
        lambda x: x[:1].expand(6, 9),
        lambda x: x.flip(0),
    ],
)
def test_inputs_and_gradients_of_any_strides(rearrange):
    layer = SparseLinear(9, 9, density=0.5)
    x = torch.randn(6, 9)
    y = layer(rearrange(x))
    torch.testing.assert_close(y, functional.linear(rearrange(x), layer.to_dense()))
    (found,) = torch.autograd.grad(y, layer.values, rearrange(x))
    whole = (rearrange(x).t() @ rearrange(x))[layer.to_dense().detach() != 0]
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


def test_the_layout_travels_through_a_chain():
    model = nn.Sequential(
        SparseLinear(9, 8, density=0.5), nn.ReLU(), SparseLinear(8, 7, density=0.5)
    )
    seen = []
    model[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].stride()))
    model[0].register_full_backward_hook(lambda _, __, dy: seen.append(dy[0].stride()))
    model(torch.randn(32, 9, requires_grad=True)).square().sum().backward()
    assert seen == [(1, 32), (1, 32)]


def test_the_result_may_be_overwritten():
    layer = SparseLinear(9, 7, density=0.5)
    for shape in ((5, 9), (2, 5, 9)):
        x = torch.randn(shape)
        y = functional.relu_(layer(x))
        y.sum().backward()
        torch.testing.assert_close(y, layer(x).relu())


def test_backward_makes_nothing_of_the_size_of_the_weights(monkeypatch):
    def refuse(*_):
        raise AssertionError("made dense")

    monkeypatch.setattr(product, "dense_weight", refuse)
    monkeypatch.setattr(product, "dense_backward", refuse)
    layer = SparseLinear(2000, 2000, density=0.001)
    x = torch.randn(3, 2000, requires_grad=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        layer(x).square().sum().backward()
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())
    assert 0 < largest <= 4 * 3 * 2000 * 3
    assert layer.values.grad.shape == (4000,)


@pytest.mark.parametrize("frozen", ["x", "values", "bias"])
def test_gradients_of_a_part(frozen):
    layer = SparseLinear(9, 7, density=0.5)
    x = torch.randn(5, 9, requires_grad=True)
    {"x": x, "values": layer.values, "bias": layer.bias}[frozen].requires_grad_(False)
    twin = dense_twin(layer)
    dy = torch.randn(5, 7)
    wanted = [each for each in (x, layer.values, layer.bias) if each.requires_grad]
    found = dict(zip(map(id, wanted), torch.autograd.grad(layer(x), wanted, dy), strict=True))
    by_weight, by_bias = torch.autograd.grad(twin(x), (twin.weight, twin.bias), dy)
    mask = layer.to_dense().detach() != 0
    expected = {id(x): dy @ layer.to_dense(), id(layer.values): by_weight[mask]}
    expected[id(layer.bias)] = by_bias
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-4, atol=1e-5)


def test_gradcheck_and_the_gradient_of_the_gradient():
    layer = SparseLinear(6, 5, pattern=holes(5, 6), dtype=torch.float64)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    tensors = layer.row_offsets, layer.column_indices

    def run(x, values, bias):
        return product.dense_forward(x, values, bias, *tensors)

    assert torch.autograd.gradcheck(run, (x, layer.values, layer.bias))
    assert torch.autograd.gradgradcheck(run, (x, layer.values, layer.bias))


def test_the_gradient_of_a_gradient_in_float32():
    layer = SparseLinear(9, 7, density=0.5)
    twin, x = dense_twin(layer), torch.randn(5, 9, requires_grad=True)
    found = []
    for each, weight in ((layer, layer.values), (twin, twin.weight)):
        (first,) = torch.autograd.grad(each(x).square().sum(), x, create_graph=True)
        found += torch.autograd.grad(first.square().sum(), weight)
    mask = layer.to_dense().detach() != 0
    torch.testing.assert_close(found[0], found[1][mask], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_are_torchs(dtype):
    layer = SparseLinear(9, 7, density=0.5, dtype=dtype)
    x = torch.randn(5, 9, dtype=dtype, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, functional.linear(x, layer.to_dense(), layer.bias))
    y.sum().backward()
    assert layer.values.grad.shape == layer.values.shape
    assert layer.values.grad.dtype == dtype


def test_autocast_leaves_the_layer_in_float32():
    layer, x = SparseLinear(9, 7, density=0.5), torch.randn(5, 9)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        again = layer(x.bfloat16())
    torch.testing.assert_close(y, layer(x), rtol=0.0, atol=0.0)
    assert again.dtype == torch.float32
    again.sum().backward()
    assert layer.values.grad.dtype == torch.float32


def test_transformations_are_torchs():
    layer, x = SparseLinear(9, 7, density=0.5), torch.randn(4, 5, 9)
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x), rtol=1e-4, atol=1e-5)
    by_x = torch.func.jacrev(layer)(x[0, 0])
    torch.testing.assert_close(by_x, layer.to_dense())


def test_patterns_given_in_every_way():
    mask = holes(7, 9)
    csr = sp.csr_array(mask)
    pair = torch.from_numpy(csr.indptr), torch.from_numpy(csr.indices)
    for pattern in (mask, torch.from_numpy(mask), csr, sp.coo_array(mask), pair):
        layer = SparseLinear(9, 7, pattern=pattern)
        np.testing.assert_array_equal(layer.pattern.toarray(), mask)
        assert (layer.nonzeros, layer.density) == (mask.sum(), mask.mean())


def test_values_are_drawn_by_the_connections_of_each_row():
    mask = np.zeros((2, 20000), bool)
    mask[0] = True
    mask[1, :5000] = True
    layer = SparseLinear(20000, 2, pattern=mask)
    for row, count in ((layer.values[:20000], 20000), (layer.values[20000:], 5000)):
        assert row.std().item() == pytest.approx((2 / count) ** 0.5, rel=0.05)
    assert not layer.bias.any()


def test_the_same_seed_gives_the_same_layer():
    layers = []
    for _ in range(2):
        torch.manual_seed(3)
        layers.append(SparseLinear(30, 20, density=0.2))
    assert torch.equal(layers[0].column_indices, layers[1].column_indices)
    assert torch.equal(layers[0].values, layers[1].values)


def test_from_dense_and_back():
    weight, bias = torch.randn(4, 6), torch.randn(4)
    weight[weight.abs() < 0.5] = 0.0
    layer = SparseLinear.from_dense(weight, bias)
    assert torch.equal(layer.to_dense(), weight)
    assert layer.nonzeros == (weight != 0).sum()
    masked = SparseLinear.from_dense(weight, mask=torch.ones(4, 6))
    assert masked.nonzeros == 24
    assert masked.bias is None
    with pytest.raises(InputError, match="weight and mask"):
        SparseLinear.from_dense(weight, mask=torch.ones(6, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"density": 0.5, "pattern": np.ones((7, 9))},
        {"density": 1.5},
        {"density": float("nan")},
        {"pattern": np.ones((9, 7))},
        {"pattern": np.ones(9)},
        {"pattern": "all"},
        {"pattern": ([0, 1], [0])},
        {"pattern": ([0] * 7 + [1], [9])},
        {"pattern": ([0] * 7 + [2], [3, 3])},
    ],
)
def test_what_makes_no_layer_is_refused(arguments):
    with pytest.raises(InputError):
        SparseLinear(9, 7, **arguments)


@pytest.mark.parametrize("sizes", [(4.0, 2), (4, "2"), (-1, 2), (True, 2)])
def test_sizes_that_are_no_whole_numbers_are_refused(sizes):
    with pytest.raises(InputError, match=r"features is .*, wanted a whole number"):
        SparseLinear(*sizes, density=0.5)


@pytest.mark.parametrize("shape", [(), (8,), (9, 5)])
def test_inputs_of_another_width_are_refused(shape):
    with pytest.raises(InputError, match=r"expects \[..., 9\]"):
        SparseLinear(9, 7, density=0.5)(torch.randn(shape))


def test_buffers_damaged_later_are_refused():
    layer = SparseLinear(9, 7, density=0.5)
    layer(torch.randn(2, 9))
    layer.column_indices[3] = 10**6
    with pytest.raises(InputError, match="column 1000000"):
        layer(torch.randn(2, 9))


def test_set_pattern_keeps_what_stays_and_begins_at_0():
    layer = SparseLinear(9, 7, pattern=holes(7, 9))
    before, parameter, x = layer.to_dense().detach(), layer.values, torch.randn(4, 9)
    layer(x)
    mask = np.random.default_rng(1).random((7, 9)) < 0.5
    layer.set_pattern(mask)
    assert layer.values is parameter
    assert layer.nonzeros == mask.sum() == len(parameter)
    expected = torch.where(torch.from_numpy(mask), before, 0.0)
    assert torch.equal(layer.to_dense(), expected)
    torch.testing.assert_close(layer(x), functional.linear(x, expected, layer.bias))


def test_a_pattern_changed_between_the_passes_is_noticed():
    layer = SparseLinear(9, 7, density=0.5)
    for mask in (np.ones((7, 9)), np.roll(layer.pattern.toarray(), 1, axis=1)):
        y = layer(torch.randn(4, 9))
        layer.set_pattern(mask)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_state_of_another_pattern_is_loaded_whole():
    x = torch.randn(4, 9)
    layer = SparseLinear(9, 7, density=0.4)
    layer(x)
    rolled = SparseLinear(9, 7, pattern=np.roll(layer.pattern.toarray(), 1, axis=1))
    for other in (rolled, SparseLinear(9, 7, density=0.2), SparseLinear(9, 7, density=0.0)):
        for assign in (False, True):
            mine = copy.deepcopy(layer)
            parameter = mine.values
            mine.load_state_dict(other.state_dict(), assign=assign)
            assert torch.equal(mine(x), other(x))
            assert (mine.values is parameter) == (not assign)


def test_state_passes_through_a_file():
    layer, file = SparseLinear(9, 7, density=0.4), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = SparseLinear(9, 7, density=0.1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(layer.to_dense(), other.to_dense())


def test_damaged_state_is_refused_and_changes_nothing():
    layer = SparseLinear(9, 7, density=0.4)
    before = copy.deepcopy(layer.state_dict())
    good = layer.state_dict()
    rising = {**good, "row_offsets": good["row_offsets"].flip(0)}
    outside = {**good, "column_indices": good["column_indices"] + 9}
    short = {**good, "values": good["values"][1:]}
    tall = {**good, "row_offsets": torch.cat([good["row_offsets"], good["row_offsets"][-1:]])}
    floats = {**good, "column_indices": good["column_indices"].float()}
    partial = {name: good[name] for name in good if name != "row_offsets"}
    for damaged in (rising, outside, short, tall, floats, partial):
        with pytest.raises(RuntimeError, match=r"wanted|lies outside|fall"):
            layer.load_state_dict(damaged)
        for name, tensor in layer.state_dict().items():
            assert torch.equal(tensor, before[name])


def test_copies_are_layers_of_their_own():
    layer, x = SparseLinear(9, 7, density=0.4), torch.randn(4, 9)
    layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert other._cache.handle != layer._cache.handle
        other.set_pattern(np.zeros((7, 9)))
        assert layer.nonzeros > 0
        assert torch.equal(other(x), torch.zeros(4, 7))


def test_layers_on_no_device_have_shapes():
    layer = SparseLinear(9, 7, density=0.4, device="meta")
    assert layer(torch.empty(4, 9, device="meta")).shape == (4, 7)
    there = layer.to_empty(device="cpu")
    there.load_state_dict(SparseLinear(9, 7, density=0.4).state_dict())
    assert there(torch.randn(4, 9)).shape == (4, 7)


def test_inference_mode():
    layer, x = SparseLinear(9, 7, density=0.4), torch.randn(4, 9)
    with torch.inference_mode():
        y = layer(x)
        made_here = copy.deepcopy(layer)
        torch.testing.assert_close(made_here(x), y)
        made_here.column_indices.zero_()
        with pytest.raises(InputError):
            made_here(x)
    torch.testing.assert_close(layer(x), y)
