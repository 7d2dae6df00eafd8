"""SparseLinear on a GPU, emulated: tensors stay on the CPU, whose memory the emulated GPU reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

import espalier as esp
import espalier.nn as enn
from espalier.cuda import Device
from espalier.nn.sparse import autograd as sparse_autograd
from espalier.nn.sparse import cuda as sparse_cuda
from espalier.nn.sparse import linear as sparse_linear
from espalier.nn.torch_tools import is_supported
from tests.support.devices import emulated_device, without_compiler

SHAPES = ((1, 1, 1), (3, 7, 5), (8, 33, 16), (64, 20, 40), (65, 1, 33), (40, 16, 1))
DTYPES = (torch.float32, torch.bfloat16)


def is_supported_wherever(*tensors: Any, dtypes: Any, on_gpu: bool) -> bool:
    return is_supported(*tensors, dtypes=dtypes)


@pytest.fixture
def gpu() -> Iterator[Device]:
    """A GPU that all tensors of the CPU seem to lie on."""
    device = emulated_device()
    nowhere = {"return_value": False}
    with (
        without_compiler(),
        patch.object(sparse_cuda, "is_supported", is_supported_wherever),
        patch.object(sparse_cuda, "_stream", return_value=0),
        patch.object(sparse_cuda, "open_device", return_value=device),
        patch.object(sparse_linear, "is_supported", **nowhere),
        patch.object(sparse_autograd, "is_supported", **nowhere),
    ):
        yield device


def make(rows: int, columns: int, dtype: torch.dtype, density: float = 0.3) -> enn.SparseLinear:
    torch.manual_seed(rows + columns)
    mask = torch.rand(rows, columns) < density
    if rows > 2:
        mask[1] = False  # an empty row
    layer = enn.SparseLinear(columns, rows, pattern=mask, dtype=dtype)
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    return layer


def step(layer: enn.SparseLinear, x: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients by x, values and bias."""
    assert layer.bias is not None
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(dy)
    assert x.grad is not None and layer.values.grad is not None and layer.bias.grad is not None
    return [y.detach(), x.grad, layer.values.grad.clone(), layer.bias.grad.clone()]


def by_feature(x: torch.Tensor) -> torch.Tensor:
    return x.t().contiguous().t()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arrange", [torch.Tensor.contiguous, by_feature])
def test_all_three_passes_agree_with_dense_in_float64(
    gpu: Device, shape: tuple[int, int, int], dtype: torch.dtype, arrange: Any
) -> None:
    batch, rows, columns = shape
    layer = make(rows, columns, dtype)
    x, dy = arrange(torch.randn(batch, columns, dtype=dtype)), torch.randn(batch, rows, dtype=dtype)
    found = step(layer, x, dy)
    assert gpu.driver.api.launches
    assert found[0].stride() == (1, batch) or 1 in (batch, rows)
    assert found[1].stride() == x.stride() or 1 in (batch, columns)

    weight = layer.to_dense().detach().double()
    mask = torch.from_numpy(layer.pattern.toarray())
    x64, dy64 = x.double(), dy.double()
    assert layer.bias is not None
    expected = [
        x64 @ weight.T + layer.bias.detach().double(),
        dy64 @ weight,
        (dy64.T @ x64)[mask],
        dy64.sum(0),
    ]
    rounding = 1e-5 if dtype is torch.float32 else 2.0**-6
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype is dtype
        np.testing.assert_allclose(
            mine.double().numpy(), theirs.numpy(), rtol=rounding, atol=rounding * 10
        )


def test_whole_vectors_and_single_samples_give_the_same_bits(gpu: Device) -> None:
    layer = make(20, 30, torch.float32)
    x = by_feature(torch.randn(64, 30))
    whole = layer(x)
    with patch("espalier.cuda.pattern.DevicePattern._vector_width", return_value=1):
        assert torch.equal(layer(x), whole)
    assert {"spmm_f32_4", "spmm_f32_1"} <= set(gpu.driver.api.launches)


@pytest.mark.usefixtures("gpu")
def test_a_long_batch_is_cut() -> None:
    layer = make(3, 4, torch.float32)
    x = torch.randn(200, 4)
    expected = layer(x)
    with patch("espalier.cuda.pattern._MOST_GRID_ROWS", 1):
        assert torch.equal(layer(x), expected)


@pytest.mark.usefixtures("gpu")
def test_bfloat16_rounds_to_the_nearest_even() -> None:
    layer = enn.SparseLinear(1, 1, bias=False, density=1.0, dtype=torch.bfloat16)
    torch.nn.init.ones_(layer.values)
    x = torch.tensor([[1.0], [float("nan")], [float("inf")], [-3.0e38]], dtype=torch.bfloat16)
    assert torch.equal(layer(x).nan_to_num(7.0), x.nan_to_num(7.0))
    torch.nn.init.constant_(layer.values, 1.0 + 2.0**-7)
    numbers = torch.randn(500, 1, dtype=torch.bfloat16)
    assert torch.equal(layer(numbers), numbers * layer.values)


def test_the_pattern_moves_once_and_follows_changes(gpu: Device) -> None:
    layer = make(6, 5, torch.float32)
    x = torch.randn(3, 5)
    layer(x)
    copies = len(gpu.driver.api.copies)
    layer(x)
    assert len(gpu.driver.api.copies) == copies
    layer.set_pattern(torch.ones(6, 5))
    torch.nn.init.normal_(layer.values)
    torch.testing.assert_close(
        layer(x), torch.nn.functional.linear(x, layer.to_dense(), layer.bias)
    )


@pytest.mark.usefixtures("gpu")
def test_gradients_of_gradients_are_pytorchs() -> None:
    layer = make(4, 5, torch.float32)
    x = torch.randn(3, 5, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    dx.square().sum().backward()
    assert layer.values.grad is not None and layer.values.grad.abs().sum() > 0


@pytest.mark.usefixtures("gpu")
def test_other_types_are_pytorchs() -> None:
    layer = make(4, 5, torch.float64)
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(
        layer(x), torch.nn.functional.linear(x, layer.to_dense(), layer.bias)
    )


def test_patterns_keep_their_place() -> None:
    """One layer on the CPU, then on a GPU, then back."""
    layer = make(4, 5, torch.float32)
    x = torch.randn(3, 5)
    expected = layer(x)
    device = emulated_device()
    offsets, columns = layer.row_offsets, layer.column_indices
    on_device = layer._cache.get_on(device, offsets, columns, 5)
    assert on_device.device is device
    assert layer._cache.get_on(device, offsets, columns.clone(), 5) is on_device
    torch.testing.assert_close(layer(x), expected)


class OnGpu:
    """A tensor's whereabouts, enough to be refused."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)


def test_mixed_devices_are_named() -> None:
    x: Any = OnGpu("cpu")
    values: Any = OnGpu("cuda:1")
    with pytest.raises(esp.DeviceError, match=r"input lies on cpu, the layer on cuda:1; move one"):
        sparse_cuda.check_one_device(x, values)
