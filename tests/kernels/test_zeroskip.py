"""The zero-skip kernels against the float64 references, their masks, and what they refuse."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import InputError
from espalier.kernels import (
    count_nonzero,
    nonzero_mask,
    reference,
    relu_backward,
    relu_forward,
    zeroskip_backward_input,
    zeroskip_backward_weight,
    zeroskip_forward,
)

ZEROS = (0.0, 0.02, 0.3, 0.5, 0.9, 0.99, 1.0)
CHANNELS = (1, 3, 8, 16, 31, 32, 33, 64, 65, 96, 129, 200)


def random_array(rng: np.random.Generator, shape: tuple[int, ...], zeros: float) -> np.ndarray:
    """Random floats with about this fraction of zeros, some of them -0.0, half of them in lumps."""
    values = rng.standard_normal(shape, dtype=np.float32)
    kept = rng.random(shape, dtype=np.float32) >= zeros
    if len(shape) == 4 and rng.random() < 0.5:
        lumps = rng.random((shape[0], 1, shape[2], -(-shape[3] // 8))) >= zeros
        kept = np.broadcast_to(np.repeat(lumps, 8, axis=3)[..., : shape[3]], shape)
    return np.where(kept, values, np.float32(-0.0) * np.sign(values))


class Case(NamedTuple):
    """Operands of the three passes of one layer."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    dy: np.ndarray
    over: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        return (self.x.shape[1], self.x.shape[2]) if self.x.ndim == 4 else (1, 1)

    @property
    def kernel(self) -> tuple[int, int]:
        return (self.weight.shape[1], self.weight.shape[2]) if self.x.ndim == 4 else (1, 1)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Convolutions of many shapes; a good part 1 x 1 or 3 x 3, and some linear layers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    channels, filters = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    zeros, dy_zeros = draw(st.sampled_from(ZEROS)), draw(st.sampled_from(ZEROS))
    bias = random_array(rng, (filters,), 0.2) if draw(st.booleans()) else None
    kind = draw(st.sampled_from(["any", "one", "three", "linear"]))
    if kind == "linear":
        rows = draw(st.sampled_from([1, 2, 63, 64, 65, 150]))
        x = random_array(rng, (rows, channels), zeros)
        dy = random_array(rng, (rows, filters), dy_zeros)
        return Case(x, random_array(rng, (filters, channels), 0.1), bias, dy, {})
    pair = st.tuples(st.integers(1, 5), st.integers(1, 5))
    kernel = {"any": draw(pair), "one": (1, 1), "three": (3, 3)}[kind]
    stride = (1, 1) if kind == "three" else draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = [
        max(draw(st.integers(1, 17)), taps - 2 * pad)
        for taps, pad in zip(kernel, padding, strict=True)
    ]
    outputs = [
        (length + 2 * pad - taps) // step + 1
        for length, pad, taps, step in zip(size, padding, kernel, stride, strict=True)
    ]
    images = draw(st.integers(1, 4))
    x = random_array(rng, (images, *size, channels), zeros)
    weight = random_array(rng, (filters, *kernel, channels), 0.1)
    dy = random_array(rng, (images, *outputs, filters), dy_zeros)
    return Case(x, weight, bias, dy, {"stride": stride, "padding": padding})


def assert_close(result: np.ndarray, pass_: Any, operands: tuple[Any, ...], **over: Any) -> None:
    """Equal to the reference but for the order of summation: the bound of Higham, section 3.1."""
    expected = pass_(*operands, **over)
    sizes = pass_(*[abs(x) if isinstance(x, np.ndarray) else x for x in operands], **over)
    bound = 4.0 * 2.0**-24 * (max(x.size for x in operands[:2]) ** 0.5 + 64) * sizes
    assert result.shape == expected.shape
    assert (abs(result - expected) <= bound + 1e-30).all()


@settings(max_examples=120)
@given(case=cases())
def test_passes_equal_the_references(case: Case) -> None:
    x, weight, bias, dy, over = case
    assert_close(
        zeroskip_forward(x, weight, bias, **over),
        reference.zeroskip_forward,
        (x, weight, bias),
        **over,
    )
    size = case.size if x.ndim == 4 else None
    dx = zeroskip_backward_input(dy, weight, size, **over)
    assert_close(dx, reference.zeroskip_backward_input, (dy, weight, case.size), **over)
    needed = nonzero_mask(x)
    dx = zeroskip_backward_input(dy, weight, size, needed=needed, **over)
    assert_close(
        dx, reference.zeroskip_backward_input, (dy, weight, case.size), needed=needed, **over
    )
    assert not dx[x == 0].any()
    for skip in ("input", "gradient"):
        dw = zeroskip_backward_weight(
            x, dy, case.kernel if x.ndim == 4 else None, skip=skip, **over
        )
        assert_close(
            dw, reference.zeroskip_backward_weight, (x, dy, case.kernel), skip=skip, **over
        )


@settings(max_examples=40)
@given(case=cases(), threads=st.integers(2, 5))
def test_any_number_of_threads_and_given_masks_give_the_same_bits(case: Case, threads: int) -> None:
    x, weight, bias, dy, over = case
    size, kernel = (case.size, case.kernel) if x.ndim == 4 else (None, None)

    def all_passes(**given: Any) -> list[bytes]:
        many = {"threads": given["threads"], **over}
        mask, dy_mask = (nonzero_mask(x), nonzero_mask(dy)) if given["masks"] else (None, None)
        results = [
            zeroskip_forward(x, weight, bias, mask=mask, **many),
            zeroskip_backward_input(dy, weight, size, mask=dy_mask, **many),
            zeroskip_backward_input(dy, weight, size, needed=nonzero_mask(x), **many),
            zeroskip_backward_weight(x, dy, kernel, mask=mask, **many),
            zeroskip_backward_weight(x, dy, kernel, dy_mask=dy_mask, skip="gradient", **many),
        ]
        return [result.tobytes() for result in results]

    alone = all_passes(threads=1, masks=False)
    assert all_passes(threads=threads, masks=True) == alone


def test_more_rows_than_one_unit() -> None:
    rng = np.random.default_rng(1)
    x, weight = random_array(rng, (3, 40, 37, 40), 0.6), random_array(rng, (72, 3, 3, 40), 0.0)
    over = {"padding": (1, 1)}
    assert_close(
        zeroskip_forward(x, weight, **over), reference.zeroskip_forward, (x, weight), **over
    )
    dy = random_array(rng, (3, 40, 37, 72), 0.6)
    dw = zeroskip_backward_weight(x, dy, (3, 3), **over)
    assert_close(dw, reference.zeroskip_backward_weight, (x, dy, (3, 3)), **over)


def test_weights_may_have_any_strides() -> None:
    rng = np.random.default_rng(2)
    x, dy = random_array(rng, (2, 6, 5, 40), 0.5), random_array(rng, (2, 6, 5, 24), 0.5)
    weight = random_array(rng, (24, 3, 3, 40), 0.0)
    strided = np.ascontiguousarray(weight.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert strided.strides != weight.strides
    over = {"padding": (1, 1)}
    results = [
        (
            zeroskip_forward(x, w, **over).tobytes(),
            zeroskip_backward_input(dy, w, (6, 5), **over).tobytes(),
            zeroskip_backward_input(dy, w, (6, 5), needed=nonzero_mask(x), **over).tobytes(),
        )
        for w in (weight, strided)
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 2)])
@pytest.mark.parametrize("zeros", [0.0, 0.5])
def test_a_skipped_zero_meets_infinity_unharmed(kernel: tuple[int, int], zeros: float) -> None:
    rng = np.random.default_rng(3)
    x = random_array(rng, (2, 7, 7, 70), zeros)
    x[..., 5] = 0.0
    x[0, 3, 3, 9] = np.nan
    weight = random_array(rng, (20, *kernel, 70), 0.0)
    weight[3, 0, 0, 5] = np.inf
    weight[4, 0, 0, 5] = np.nan
    over = {"padding": (0, 0) if kernel == (1, 1) else (1, 1)}
    y = zeroskip_forward(x, weight, **over)
    expected = reference.zeroskip_forward(x, weight, **over)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(y).any() and not np.isnan(y[1]).any()


@pytest.mark.parametrize("skip", ["input", "gradient"])
def test_infinite_operands_of_backward_by_weight(skip: str) -> None:
    rng = np.random.default_rng(4)
    x, dy = random_array(rng, (2, 7, 7, 70), 0.4), random_array(rng, (2, 7, 7, 20), 0.4)
    x[0, 0, 0, 3], dy[1, 6, 6, 2] = np.inf, np.nan
    over = {"padding": (1, 1), "skip": skip}
    dw = zeroskip_backward_weight(x, dy, (3, 3), **over)
    expected = reference.zeroskip_backward_weight(x, dy, (3, 3), **over)
    np.testing.assert_array_equal(np.isnan(dw), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(dw), np.isinf(expected))
    assert not np.isfinite(dw).all()


@pytest.mark.parametrize("channels", CHANNELS)
def test_masks_have_a_bit_for_each_channel(channels: int) -> None:
    rng = np.random.default_rng(channels)
    x = random_array(rng, (3, 5, 2, channels), 0.5)
    x[0, 0, 0, 0], x[-1, -1, -1, -1] = np.nan, -0.0
    mask = nonzero_mask(x)
    bits = (mask[:, np.arange(channels) // 64] >> (np.arange(channels, dtype=np.uint64) % 64)) & 1
    np.testing.assert_array_equal(bits.astype(bool), (x != 0).reshape(-1, channels))
    assert count_nonzero(mask) == np.count_nonzero(x)


@pytest.mark.parametrize("channels", CHANNELS)
def test_relu_and_its_gradient(channels: int) -> None:
    rng = np.random.default_rng(channels)
    x = random_array(rng, (400, channels), 0.1)
    x[1, 0] = np.nan
    y, mask = relu_forward(x)
    np.testing.assert_array_equal(y, np.where(x > 0, x, np.where(np.isnan(x), x, 0)))
    np.testing.assert_array_equal(mask, nonzero_mask(y))
    dy = random_array(rng, x.shape, 0.0)
    np.testing.assert_array_equal(relu_backward(dy, mask), np.where(y != 0, dy, 0))


def test_empty_batches_are_no_fault() -> None:
    x, weight = np.zeros((0, 5, 5, 3), np.float32), np.ones((4, 3, 3, 3), np.float32)
    dy = zeroskip_forward(x, weight)
    assert dy.shape == (0, 3, 3, 4)
    assert zeroskip_backward_input(dy, weight, (5, 5)).shape == x.shape
    assert not zeroskip_backward_weight(x, dy, (3, 3)).any()


X, W = np.ones((2, 5, 5, 3), np.float32), np.ones((4, 3, 3, 3), np.float32)
DY = np.ones((2, 3, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: zeroskip_forward(X.astype(np.float64), W), "x is of float64"),
        (lambda: zeroskip_forward([[1.0]], W), "x is a list"),
        (lambda: zeroskip_forward(X[:, ::2], W), "not C-contiguous"),
        (lambda: zeroskip_forward(X[0], W), "x has 3 dimensions"),
        (lambda: zeroskip_forward(X, W[..., :2]), "x has 3 channels, the weights want 2"),
        (lambda: zeroskip_forward(X, W, np.ones(3, np.float32)), "bias is"),
        (lambda: zeroskip_forward(X, W, stride=(0, 1)), "stride is (0, 1)"),
        (lambda: zeroskip_forward(X, W, padding=(-1, 1)), "padding is (-1, 1)"),
        (lambda: zeroskip_forward(X, W, stride=2), "stride is 2, wanted two whole numbers"),
        (lambda: zeroskip_forward(X[:, :2].copy(), W), "larger than the padded input"),
        (lambda: zeroskip_forward(X, W, mask=nonzero_mask(DY)), "mask is uint64"),
        (lambda: zeroskip_forward(X, W, threads=0), "threads is 0"),
        (lambda: zeroskip_backward_input(DY, W, (6, 5)), "dy has shape"),
        (lambda: zeroskip_backward_input(DY, W, None), "input_size is None"),
        (
            lambda: zeroskip_backward_input(
                DY, W, (5, 5), mask=nonzero_mask(DY), needed=nonzero_mask(X)
            ),
            "both given",
        ),
        (lambda: zeroskip_backward_weight(X, DY, (3, 3), skip="both"), "skip is 'both'"),
        (lambda: zeroskip_backward_weight(X, DY, (2, 3)), "dy has shape"),
        (lambda: relu_backward(DY, nonzero_mask(X)), "mask is uint64"),
        (lambda: nonzero_mask(np.ones(3)), "x is array"),
        (
            lambda: zeroskip_forward(np.ones((2, 3), np.float32), W[:, 0, 0], stride=(2, 2)),
            "neither stride nor padding",
        ),
    ],
)
def test_bad_arguments_are_named(call: Any, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        call()
