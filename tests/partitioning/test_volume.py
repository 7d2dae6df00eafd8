"""The recount of words against sets, and against what partitioners believe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier import Layer, radixnet
from espalier.partitioning import layer_volume
from espalier.partitioning.hypergraph import Hypergraph
from espalier.partitioning.prediction import expected_random_words
from tests.support.networks import cases


def words_by_sets(layer, owners_in, owners_out, parts):
    words = np.zeros((parts, parts), int)
    dense = sorted(zip(*layer.weights.nonzero(), strict=True)) if layer.nonzeros else []
    stored = np.repeat(np.arange(layer.outputs), np.diff(layer.row_offsets))
    dense = zip(stored.tolist(), layer.column_indices.tolist(), strict=True)
    for column, reader in {(column, owners_out[row]) for row, column in dense}:
        if owners_in[column] != reader:
            words[owners_in[column], reader] += 1
    return words


@given(case=cases(max_layers=1), parts=st.integers(1, 9), seed=st.integers(0, 99))
def test_words_are_those_of_sets_and_of_hypergraphs(case, parts, seed):
    layer, rng = case.network[0], np.random.default_rng(seed)
    owners_in = rng.integers(0, parts, layer.inputs).astype(np.int32)
    graph = Hypergraph.of(layer, owners_in, parts)
    vertices = rng.integers(0, parts, graph.vertices).astype(np.int32)
    owners_out = vertices[graph.vertex_of] if layer.outputs else np.zeros(0, np.int32)

    volume = layer_volume(layer, owners_in, owners_out, parts)

    np.testing.assert_array_equal(volume.words, words_by_sets(layer, owners_in, owners_out, parts))
    assert volume.total_words == graph.words(vertices, parts)
    assert volume.nonzeros.sum() == layer.nonzeros


def test_statistics_are_of_the_parts_that_have_most():
    layer = Layer(np.ones((3, 3)), bias=0.0)
    volume = layer_volume(layer, np.array([0, 0, 1]), np.array([0, 1, 2]), 3)

    assert volume.words.tolist() == [[0, 2, 2], [1, 0, 1], [0, 0, 0]]
    assert (volume.most_sent, volume.most_received) == (4, 3)
    assert (volume.total_messages, volume.most_messages) == (4, 2)
    assert volume.imbalance == 0.0


@pytest.mark.parametrize("parts", [2, 8])
def test_random_rows_send_what_is_expected_of_them(parts):
    layer = radixnet(1024, 1)[0]
    rng = np.random.default_rng(0)
    drawn = [
        layer_volume(layer, *rng.integers(0, parts, (2, 1024), np.int32), parts).total_words
        for _ in range(20)
    ]

    assert np.mean(drawn) == pytest.approx(expected_random_words(layer, parts), rel=0.01)
