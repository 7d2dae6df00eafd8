"""One layer and pass: dense and zero-skip compute the same, or nothing is timed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sparsetrain import pass_times
from benchmarks.sparsetrain.layers import break_even
from benchmarks.sparsetrain.operands import dense_operands, zeros_in
from benchmarks.sparsetrain.pass_times import Candidate, images_per_call, time_pass
from benchmarks.sparsetrain.passes import as_array, dense_pass, zeroskip_pass
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import PASSES, LayerShape, Pass, variants
from espalier import EspalierError
from espalier.kernels import zeroskip

SHAPES = (
    LayerShape(5, 7, side=6, kernel=3, stride=2),
    LayerShape(70, 3, side=4, kernel=1),
    LayerShape(9, 4),
)
SETTINGS = Settings(rounds=1)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.label)
@pytest.mark.parametrize("name", PASSES)
def test_every_way_to_skip_is_checked_and_timed(shape: LayerShape, name: Pass) -> None:
    rng = np.random.default_rng(0)
    dense = dense_operands(shape, 3, rng)
    candidates = {
        variant: Candidate(variant, dense.with_zeros(0.6, variant, rng))
        for variant in variants(name, sparse_gradient=True)
    }
    times = time_pass(shape, name, dense, candidates, SETTINGS)
    assert set(times.skips) == set(candidates)
    for candidate in candidates:
        record = times.to_record(candidate)
        assert record["speedup"]["median"] == times.dense.median / times.skips[candidate].median
        assert times.chosen_seconds(candidate) <= times.dense.median + times.mask.median


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.label)
@pytest.mark.parametrize("name", PASSES)
def test_passes_agree_on_dense_operands(shape: LayerShape, name: Pass) -> None:
    operands = dense_operands(shape, 2, np.random.default_rng(1))
    wanted = as_array(shape, name, dense_pass(shape, name, operands)())
    for variant in variants(name, sparse_gradient=True):
        found = zeroskip_pass(shape, name, variant, operands, 1)()
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = zeroskip.zeroskip_forward
    monkeypatch.setattr(zeroskip, "zeroskip_forward", lambda *a, **k: right(*a, **k) + 1.0)
    monkeypatch.setattr(
        pass_times, "time_interleaved", lambda *_, **__: pytest.fail("it was timed")
    )
    operands = dense_operands(SHAPES[0], 1, np.random.default_rng(0))
    with pytest.raises(EspalierError, match="3x3 5>7 @6 /2, FWD, mine: zero-skip differs by"):
        time_pass(SHAPES[0], "FWD", operands, {"mine": Candidate("input", operands)}, SETTINGS)


def test_random_zeros_are_as_many_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    dense = dense_operands(LayerShape(64, 64, side=16, kernel=1), 8, rng)
    assert zeros_in(dense.x) == zeros_in(dense.dy) == 0.0
    sparse = dense.with_zeros(0.3, "gradient", rng)
    assert sparse.x is dense.x and sparse.zeros("gradient") == pytest.approx(0.3, abs=0.01)
    sparse = dense.with_zeros(0.9, "needed", rng)
    assert sparse.dy is dense.dy and sparse.zeros("needed") == pytest.approx(0.9, abs=0.01)


def test_images_fit_into_the_time_of_a_call() -> None:
    large, small = LayerShape(64, 64, 224, 3), LayerShape(64, 64, 7, 1)
    assert 1 <= images_per_call(large, SETTINGS) < images_per_call(small, SETTINGS) == 16


def test_break_even_is_the_last_time_the_lines_cross() -> None:
    assert break_even((0.0, 0.5, 0.9), (1.1, 0.9, 2.0)) == pytest.approx(0.57, abs=0.01)
