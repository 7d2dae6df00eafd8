"""The zero-skip references against PyTorch in float64, and what a skipped zero means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from espalier.kernels import reference

SKIPS = ("input", "gradient")


def channels_last(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().permute(0, 2, 3, 1).numpy()


@st.composite
def geometries(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Size, kernel, stride and padding; the kernel fits the padded input only."""
    pairs = [draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (9, 4, 3)]
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size, kernel, stride = pairs
    fits = tuple(max(s, k - 2 * p) for s, k, p in zip(size, kernel, padding, strict=True))
    return fits, kernel, stride, padding


@settings(max_examples=60)
@given(geometry=geometries(), counts=st.tuples(*[st.integers(1, 4)] * 3), seed=st.integers(0, 99))
def test_convolution_is_that_of_torch(geometry, counts, seed) -> None:
    size, kernel, stride, padding = geometry
    images, channels, filters = counts
    torch.manual_seed(seed)
    x = torch.randn(images, channels, *size, dtype=torch.float64).relu().requires_grad_()
    weight = torch.randn(filters, channels, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(filters, dtype=torch.float64)
    y = functional.conv2d(x, weight, bias, stride, padding)
    dy = torch.randn_like(y).relu()
    y.backward(dy)
    over = {"stride": stride, "padding": padding}

    arrays = channels_last(x), channels_last(weight), channels_last(dy)
    forward = reference.zeroskip_forward(arrays[0], arrays[1], bias.numpy(), **over)
    np.testing.assert_allclose(forward, channels_last(y), atol=1e-12)
    dx = reference.zeroskip_backward_input(arrays[2], arrays[1], size, **over)
    np.testing.assert_allclose(dx, channels_last(x.grad), atol=1e-12)
    for skip in SKIPS:
        dw = reference.zeroskip_backward_weight(arrays[0], arrays[2], kernel, skip=skip, **over)
        np.testing.assert_allclose(dw, channels_last(weight.grad), atol=1e-12)


def test_linear_is_three_matrix_products() -> None:
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(shape) for shape in ((5, 7), (3, 7), (5, 3)))
    np.testing.assert_allclose(reference.zeroskip_forward(x, weight), x @ weight.T)
    np.testing.assert_allclose(reference.zeroskip_backward_input(dy, weight), dy @ weight)
    np.testing.assert_allclose(reference.zeroskip_backward_weight(x, dy), dy.T @ x)


def test_entries_not_needed_are_zero() -> None:
    dy, weight = np.ones((2, 1)), np.arange(1.0, 71.0)[None]
    needed = np.array([[1 | 1 << 63, 1], [0, 1 << 5]], np.uint64)
    dx = reference.zeroskip_backward_input(dy, weight, needed=needed)
    assert np.argwhere(dx).tolist() == [[0, 0], [0, 63], [0, 64], [1, 69]]
    assert dx[dx != 0].tolist() == [1.0, 64.0, 65.0, 70.0]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_skipped_zero_meets_no_bad_number(bad: float) -> None:
    zero, weight = [[0.0, -0.0, 1.0]], [[bad, bad, 2.0]]
    assert reference.zeroskip_forward(zero, weight).tolist() == [[2.0]]
    assert reference.zeroskip_backward_input([[0.0, 1.0]], [[bad], [2.0]]).tolist() == [[2.0]]
    by_input = reference.zeroskip_backward_weight([[0.0], [1.0]], [[bad], [2.0]], skip="input")
    assert by_input.tolist() == [[2.0]]
    by_gradient = reference.zeroskip_backward_weight(
        [[bad], [1.0]], [[0.0], [2.0]], skip="gradient"
    )
    assert by_gradient.tolist() == [[2.0]]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_number_that_is_not_skipped_meets_them(bad: float) -> None:
    assert not np.isfinite(reference.zeroskip_forward([[1.0]], [[bad]])).any()
    assert np.isnan(reference.zeroskip_forward([[np.nan]], [[0.0]])).all()
    dw = reference.zeroskip_backward_weight([[0.0]], [[bad]], skip="gradient")
    assert np.isnan(dw).all()
    needed = np.ones((1, 1), np.uint64)
    assert np.isnan(reference.zeroskip_backward_input([[0.0]], [[bad]], needed=needed)).all()


def test_padding_is_no_zero_that_meets_infinity() -> None:
    dy = np.full((1, 3, 3, 1), np.inf)
    x = np.ones((1, 3, 3, 1))
    dw = reference.zeroskip_backward_weight(x, dy, (3, 3), padding=(1, 1), skip="gradient")
    assert (dw == np.inf).all()
