"""Equal rows, folded columns, classified samples: against plain Python on the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from espalier import Layer, _native
from espalier.kernels.rows import (
    ALL_CONSTANT,
    ALL_ZERO,
    classify_samples,
    first_equal_patterns,
    first_equal_rows,
    first_equal_samples,
    fold_columns,
)
from espalier.kernels.samples import native_samples
from tests.support.networks import Case, cases

FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 32.0])
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=FEW
)


def first_of_each(keys: list[bytes]) -> list[int]:
    return [keys.index(key) for key in keys]


def rows_of(layer: Layer) -> list[tuple[bytes, bytes]]:
    """Columns and values of each row."""
    offsets = layer.row_offsets
    return [
        (layer.column_indices[a:b].tobytes(), layer.values[a:b].tobytes())
        for a, b in itertools.pairwise(offsets)
    ]


@settings(max_examples=100)
@given(case=cases(max_layers=3))
def test_first_equal_rows_compares_weights_and_bias_bit_for_bit(case: Case) -> None:
    layer = case.network[-1]
    rows = rows_of(layer)
    whole = [b"|".join([*row, bias.tobytes()]) for row, bias in zip(rows, layer.bias, strict=True)]
    assert first_equal_rows(layer).tolist() == first_of_each(whole)


@settings(max_examples=100)
@given(case=cases(max_layers=3), data=st.data())
def test_first_equal_patterns_compares_columns_and_keys(case: Case, data: st.DataObject) -> None:
    layer = case.network[-1]
    columns = [row[0] for row in rows_of(layer)]
    arrays = layer.row_offsets, layer.column_indices
    assert first_equal_patterns(*arrays).tolist() == first_of_each(columns)
    keys = np.array(data.draw(st.lists(FEW, min_size=len(columns), max_size=len(columns))), "f4")
    keyed = [b"|".join([row, key.tobytes()]) for row, key in zip(columns, keys, strict=True)]
    assert first_equal_patterns(*arrays, keys).tolist() == first_of_each(keyed)


def test_rows_that_differ_in_one_bit_are_not_equal() -> None:
    one, next_one = np.float32(1.0), np.nextafter(np.float32(1.0), np.float32(2.0))
    layer = Layer([[one, one], [one, next_one], [one, one], [one, one]], [0.0, 0.0, -0.0, 0.0])
    assert first_equal_rows(layer).tolist() == [0, 1, 2, 0]


@given(matrix=matrices, data=st.data())
def test_first_equal_samples_compares_bits(matrix: np.ndarray, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, len(matrix) - 1))), np.int64)
    for threads in (1, 2):
        first = first_equal_samples(matrix, index, threads)
        assert first.tolist() == first_of_each([row.tobytes() for row in matrix[index]])


@given(matrix=matrices, constant=FEW, data=st.data())
def test_classify_samples(matrix: np.ndarray, constant: float, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, len(matrix) - 1))), np.int64)
    picked = matrix[index]
    expected = np.where(
        (picked == 0.0).all(axis=1),
        ALL_ZERO,
        np.where((picked == constant).all(axis=1), ALL_CONSTANT, 0),
    )
    for threads in (1, 2):
        kind = classify_samples(matrix, index, constant, threads)
        assert kind.tolist() == expected.tolist()


@settings(max_examples=100)
@given(case=cases(max_layers=2), data=st.data())
def test_fold_columns_computes_the_same_sums(case: Case, data: st.DataObject) -> None:
    layer = case.network[-1]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    units = int(rng.integers(1, 5))
    classes = rng.integers(-1, units, layer.inputs).astype(np.int32)
    constants = rng.integers(0, 3, layer.inputs).astype(np.float32)
    kept = np.flatnonzero(rng.random(layer.outputs) < 0.7).astype(np.int32)
    offsets, columns, values, bias = fold_columns(layer, kept, classes, constants)
    folded = np.zeros((len(kept), units))
    for row in range(len(kept)):
        within = slice(offsets[row], offsets[row + 1])
        assert (np.diff(columns[within]) > 0).all()
        folded[row, columns[within]] = values[within]
    state = rng.integers(0, 4, units).astype(np.float64)
    inputs = np.where(classes >= 0, state[classes], constants)
    expected = layer.weights.astype(np.float64)[kept] @ inputs + layer.bias[kept]
    np.testing.assert_array_equal(folded @ state + bias, expected)


@pytest.mark.parametrize("index", [[2], [-1]])
def test_rows_outside_the_matrix_are_refused(index: list[int]) -> None:
    matrix, picked = np.zeros((2, 3), np.float32), np.array(index, np.int64)
    with pytest.raises(ValueError, match="outside"):
        first_equal_samples(matrix, picked, 1)
    with pytest.raises(ValueError, match="outside"):
        classify_samples(matrix, picked, 0.0, 1)
    with pytest.raises(ValueError, match="outside"):
        native_samples(matrix, picked)
    layer = Layer(np.eye(2), 0.0)
    kept = picked.astype(np.int32)
    classes, constants = np.zeros(2, np.int32), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="outside"):
        fold_columns(layer, kept, classes, constants)


def test_native_functions_convert_nothing_behind_the_callers_back() -> None:
    with pytest.raises(TypeError):
        _native.first_equal_samples(np.zeros((2, 3)), np.zeros(1, np.int64), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _native.dense_samples(np.zeros((3, 2), np.float32).T, None)
