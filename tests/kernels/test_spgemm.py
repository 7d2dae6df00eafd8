"""spgemm in the FSSL paper's three strategies against the float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier import InputError, Layer
from espalier.kernels import SparseProduct, reference
from tests.support.instruction_sets import AVAILABLE, forced
from tests.support.networks import Case, cases


@pytest.mark.parametrize("name", AVAILABLE)
@settings(max_examples=60)
@given(case=cases(max_layers=6), reuse=st.booleans(), threads=st.sampled_from((1, 2, 5)))
def test_every_layer_agrees_bit_for_bit(name: str, case: Case, reuse: bool, threads: int) -> None:
    with forced(name):
        batch = SparseProduct(sp.csr_array(case.rows), threads)
        expected = case.rows.astype(np.float64)
        for layer in case.network:
            batch.multiply(batch.prepare(layer), reuse=reuse)
            expected = reference.spmm(layer, expected)
            product = batch.matrix()
            np.testing.assert_array_equal(product.toarray(), expected)
            assert batch.nonzeros == product.nnz == np.count_nonzero(expected)
            assert product.has_sorted_indices


@settings(max_examples=60)
@given(case=cases(max_layers=6), drops=st.lists(st.booleans(), min_size=6, max_size=6))
def test_dropping_keeps_the_numbers_of_the_rest(case: Case, drops: list[bool]) -> None:
    batch = SparseProduct(sp.csr_array(case.rows))
    expected, left = case.rows.astype(np.float64), np.arange(len(case.rows))
    for layer, drop in zip(case.network, drops, strict=False):
        batch.multiply(batch.prepare(layer))
        expected = reference.spmm(layer, expected)
        if drop:
            batch.drop_empty_rows()
            lives = expected.any(axis=1)
            expected, left = expected[lives], left[lives]
        np.testing.assert_array_equal(batch.samples, left)
        np.testing.assert_array_equal(batch.matrix().toarray(), expected)
        assert batch.rows == len(left)


@settings(max_examples=40)
@given(case=cases(exact=False, max_layers=4), threads=st.sampled_from((2, 3)))
def test_rounded_sums_are_close_and_the_same_for_any_strategy(case: Case, threads: int) -> None:
    x = sp.csr_array(case.rows)
    buffered, fresh = SparseProduct(x, threads=1), SparseProduct(x, threads)
    for layer in case.network:
        buffered.multiply(buffered.prepare(layer))
        fresh.multiply(fresh.prepare(layer), reuse=False)
    result = buffered.matrix().toarray()
    np.testing.assert_array_equal(fresh.matrix().toarray(), result)
    bound = reference.tolerance(case.network, case.rows)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_allclose(result, expected, rtol=0.0, atol=bound)


def test_a_layer_of_another_width_is_refused() -> None:
    batch = SparseProduct(sp.csr_array(np.eye(3)))
    with pytest.raises(InputError, match="width 3, the layer reads 2"):
        batch.multiply(batch.prepare(Layer(np.eye(2), 0.0)))


def test_stored_zeros_count_until_the_first_product() -> None:
    x = sp.csr_array((np.float32([0.0, 2.0]), [0, 1], [0, 2]), shape=(1, 2))
    batch = SparseProduct(x)
    assert batch.nonzeros == 2
    batch.multiply(batch.prepare(Layer(np.eye(2), 0.0)))
    assert batch.nonzeros == 1
