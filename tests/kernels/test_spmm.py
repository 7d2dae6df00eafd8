"""spmm against the float64 reference: every tile, grouping, thread count, instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import InputError, Layer, Network, _native
from espalier.kernels import RowBlocks, pack, pack_by_input, reference, spmm
from espalier.kernels.segment import BadSampleError, run_segment
from tests.support.instruction_sets import AVAILABLE, forced
from tests.support.networks import Case, cases

TILES = (16, 32, 64)


@st.composite
def row_blocks(draw: st.DrawFn, layer: Layer) -> RowBlocks:
    """Any disjoint sets of rows, in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.permutation(layer.outputs)[: rng.integers(0, layer.outputs + 1)]
    bounds = np.sort(rng.integers(0, len(rows) + 1, rng.integers(0, 4)))
    offsets = np.concatenate([[0], bounds, [len(rows)]]).astype(np.int64)
    return RowBlocks(offsets, rows.astype(np.int32))


@pytest.mark.parametrize("name", AVAILABLE)
@settings(max_examples=60)
@given(case=cases(max_layers=1), data=st.data(), tile=st.sampled_from(TILES))
def test_exact_sums_are_exact(name: str, case: Case, data: st.DataObject, tile: int) -> None:
    layer = case.network[0]
    blocks = data.draw(row_blocks(layer))
    threads = data.draw(st.sampled_from((1, 2)))
    with forced(name):
        result = spmm(pack(layer, blocks), case.rows, tile=tile, threads=threads)
    np.testing.assert_array_equal(result, reference.spmm(layer, case.rows))


@pytest.mark.parametrize("name", AVAILABLE)
@settings(max_examples=60)
@given(case=cases(exact=False, max_layers=1), data=st.data())
def test_rounded_sums_are_close_and_their_bits_depend_on_nothing_but_the_instruction_set(
    name: str, case: Case, data: st.DataObject
) -> None:
    layer = case.network[0]
    with forced(name):
        result = spmm(pack(layer), case.rows)
        for tile in TILES:
            blocked = pack(layer, data.draw(row_blocks(layer)))
            same = spmm(blocked, case.rows, tile=tile, threads=2)
            np.testing.assert_array_equal(same, result)
    bound = reference.tolerance(case.network, case.rows)
    np.testing.assert_allclose(result, reference.spmm(layer, case.rows), rtol=0.0, atol=bound)


@settings(max_examples=60)
@given(case=cases(exact=False), data=st.data())
def test_segments_give_the_same_bits_for_any_tile_panels_and_threads(
    case: Case, data: st.DataObject
) -> None:
    packed = [pack(layer) for layer in case.network]
    samples = _native.dense_samples(case.rows, None)
    expected = run_segment(packed, samples, tile=32, threads=1)
    segment = run_segment(
        packed,
        samples,
        tile=data.draw(st.sampled_from(TILES)),
        panels=data.draw(st.sampled_from((1, 2, 5))),
        threads=data.draw(st.sampled_from((1, 2, 3))),
    )
    rows = segment.rows[segment.row_of]
    np.testing.assert_array_equal(rows, expected.rows[expected.row_of])
    np.testing.assert_array_equal(segment.alive, rows.any(axis=1))
    assert sorted(segment.row_of) == list(range(len(case.rows)))
    assert segment.processed.tolist() == [len(case.rows)] * len(packed)


@settings(max_examples=60)
@given(case=cases(), data=st.data())
def test_dropped_samples_are_exactly_the_dead_ones(case: Case, data: st.DataObject) -> None:
    droppable = np.array([data.draw(st.booleans()) for _ in case.network])
    packed = [pack(layer) for layer in case.network]
    segment = run_segment(
        packed,
        _native.dense_samples(case.rows, None),
        droppable=droppable,
        tile=data.draw(st.sampled_from(TILES)),
        panels=data.draw(st.sampled_from((1, 2, 5))),
        threads=data.draw(st.sampled_from((1, 2))),
    )
    expected = reference.infer(case.network, case.rows)
    kept = np.flatnonzero(segment.row_of >= 0)
    np.testing.assert_array_equal(segment.rows[segment.row_of[kept]], expected[kept])
    assert len(set(segment.row_of[kept])) == len(kept)
    dropped = np.flatnonzero(segment.row_of < 0)
    died = np.zeros(len(case.rows), bool)
    rows: Any = case.rows
    for layer, may_drop in zip(case.network, droppable, strict=True):
        rows = reference.spmm(layer, rows)
        died |= may_drop & ~rows.any(axis=1)
    assert died[dropped].all()
    if droppable[-1]:
        assert expected[kept].any(axis=1).all()


@settings(max_examples=60)
@given(case=cases(max_layers=3), data=st.data())
def test_picked_rows_and_scattered_samples(case: Case, data: st.DataObject) -> None:
    count = len(case.rows)
    index = data.draw(st.lists(st.integers(0, max(count - 1, 0)), max_size=40 if count else 0))
    picked = np.array(index, np.int64)
    csr = Layer(case.rows, 0.0).weights
    packed = [pack(layer) for layer in case.network]
    expected = reference.infer(case.network, case.rows[picked])
    for dtype in (np.int32, np.int64):
        arrays = (csr.indptr.astype(dtype), csr.indices.astype(dtype), csr.data)
        sparse = _native.sparse_samples(*arrays, case.network.inputs, picked)
        for first in (None, pack_by_input(case.network[0])):
            segment = run_segment(packed, sparse, first=first, tile=16)
            np.testing.assert_array_equal(segment.rows[segment.row_of], expected)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [(0, 0), (36, 16), (17, 5)])
def test_values_that_are_not_finite_are_found(
    name: str, value: float, position: tuple[int, int]
) -> None:
    x = np.ones((37, 17), np.float32)
    x[position] = value
    with forced(name), pytest.raises(InputError, match="finite"):
        spmm(pack(Layer(np.eye(17), 0.0)), x)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("column", [-1, 3, 2**31 - 1])
@pytest.mark.parametrize("scatter", [False, True])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_columns_outside_the_matrix_are_found(
    name: str, column: int, scatter: bool, dtype: Any
) -> None:
    layer = Layer(np.eye(3), 0.0)
    samples = _native.sparse_samples(
        np.array([0, 1, 2], dtype), np.array([1, column], dtype), np.ones(2, np.float32), 3, None
    )
    first = pack_by_input(layer) if scatter else None
    with forced(name), pytest.raises(BadSampleError):
        run_segment([pack(layer)], samples, first=first, tile=16)


@pytest.mark.parametrize("rows", [[0, 3], [-1]])
def test_blocks_of_rows_that_do_not_exist_are_refused(rows: list[int]) -> None:
    blocks = RowBlocks(np.array([0, len(rows)], np.int64), np.array(rows, np.int32))
    with pytest.raises(ValueError, match="block_rows"):
        pack(Layer(np.eye(3), 0.0), blocks)


@pytest.mark.parametrize("offsets", [[0, 2], [1, 0], [-1, 1]])
def test_block_offsets_outside_the_rows_are_refused(offsets: list[int]) -> None:
    blocks = RowBlocks(np.array(offsets, np.int64), np.array([1], np.int32))
    with pytest.raises(ValueError, match="block_offsets"):
        pack(Layer(np.eye(3), 0.0), blocks)


def test_multiply_adds_count_zeros_inside_blocks() -> None:
    layer = Layer([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]], 0.0)
    assert pack(layer).multiply_adds == 4
    both = pack(layer, RowBlocks(np.array([0, 2], np.int64), np.array([0, 1], np.int32)))
    assert (both.multiply_adds, both.own_rows, both.blocks) == (2 * 3 + 1, 1, 1)
    assert pack(layer, RowBlocks.one(3)).multiply_adds == 9


@pytest.mark.parametrize(
    "x", [np.ones(3), np.ones((2, 4)), np.ones((1, 2, 3)), [["a"] * 3], [[1j] * 3]]
)
def test_samples_that_do_not_fit_are_refused(x: Any) -> None:
    with pytest.raises(InputError, match=r"x .*"):
        spmm(pack(Layer(np.eye(3), 0.0)), x)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        spmm(pack(Layer(np.eye(3), 0.0)), np.ones((1, 3)), threads=threads)


def test_networks_of_one_packed_layer_agree_with_infer() -> None:
    net = Network([Layer(np.eye(3), -0.5)])
    np.testing.assert_array_equal(spmm(pack(net[0]), np.eye(3)), reference.infer(net, np.eye(3)))
