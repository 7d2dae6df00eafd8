"""Partitions of one layer: balance, blocks and their parts, and the partitioner's pitfalls."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier import Layer, MissingExtraError, Network
from espalier.partitioning import layer_volume, mtkahypar, predict
from espalier.partitioning.balance import assign_empty_rows, nearest_parts, owned_words, rebalance
from espalier.partitioning.hypergraph import Hypergraph
from espalier.partitioning.partition_layer import assign_blocks, partition_layer
from tests.support.networks import cases

FINGERPRINT = """
import espalier as esp
print(esp.partition(esp.radixnet(256, 8, seed=3), 4).fingerprint)
print(esp.partition(esp.random_network(256, 2, connections=5), 4).fingerprint)
"""


def spread(width, parts, seed=0):
    return np.random.default_rng(seed).integers(0, parts, width).astype(np.int32)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor is all there is")
def test_one_thread_finds_what_two_find():
    every = sorted(os.sched_getaffinity(0))
    found = {
        subprocess.run(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {cores}){FINGERPRINT}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for cores in (every[:1], every[:2])
    }

    assert len(found) == 1


def test_seeds_choose_among_partitions():
    net = esp.random_network(128, 2, connections=5)
    partitions = [esp.partition(net, 4, seed=seed) for seed in (1, 1, 2)]

    assert partitions[0].fingerprint == partitions[1].fingerprint
    assert partitions[0].fingerprint != partitions[2].fingerprint


@given(case=cases(max_layers=1), parts=st.integers(1, 4), seed=st.integers(0, 99))
def test_blocks_are_assigned_for_the_fewest_words(case, parts, seed):
    layer = case.network[0]
    graph = Hypergraph.of(layer, spread(layer.inputs, parts, seed), parts)
    blocks = spread(graph.vertices, parts, seed + 1)

    assigned = graph.words(assign_blocks(graph, blocks, parts), parts)

    assert assigned == min(
        graph.words(np.array(part_of)[blocks], parts) for part_of in permutations(range(parts))
    )


@given(case=cases(max_layers=1), parts=st.integers(1, 5), seed=st.integers(0, 99))
def test_rows_are_nearest_where_most_of_their_inputs_are(case, parts, seed):
    layer = case.network[0]
    graph = Hypergraph.of(layer, spread(layer.inputs, parts, seed), parts)
    owned = owned_words(graph, parts, np.arange(graph.vertices))

    nearest = nearest_parts(graph, parts)

    np.testing.assert_array_equal(
        owned[np.arange(graph.vertices), nearest], owned.max(axis=1, initial=0.0)
    )


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    parts=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_what_does_not_fit_is_moved(weights, parts, seed):
    dense = np.arange(9) < np.array(weights)[:, None]
    graph = Hypergraph.of(Layer(dense.astype(np.float32), bias=0.0), spread(9, parts), 10**6)
    limit = int(graph.weights.sum() // parts + 2 * graph.weights.max())

    kept = rebalance(graph, spread(graph.vertices, parts, seed), np.full(parts, limit))

    assert np.bincount(kept, graph.weights, minlength=parts).max() <= limit


def test_heavy_rows_are_kept_apart():
    nonzeros = np.array([40] * 6 + [1] * 90)
    dense = np.random.default_rng(0).permuted(
        np.arange(64) < nonzeros[:, None], axis=1
    )  # 330 weights
    net = Network([Layer(dense.astype(np.float32), bias=0.0)])
    owners = esp.partition(net, 3).owners

    assert layer_volume(net[0], *owners, 3).nonzeros.tolist() == [110, 110, 110]


def test_rows_without_weights_fill_up_the_parts():
    dense = np.zeros((40, 16), np.float32)
    dense[:10] = np.random.default_rng(0).random((10, 16))
    net = Network([Layer(dense, bias=0.5), Layer(np.ones((1, 40)), bias=0.0)])
    owners = esp.partition(net, 5).owners[1]

    assert np.bincount(owners).tolist() == [8] * 5
    assert np.bincount(owners[:10]).tolist() == [2] * 5
    assert assign_empty_rows(owners, np.ones(40, bool), 3).tolist() == [
        row % 3 for row in range(40)
    ]


def test_layers_without_weights_are_partitioned_too():
    nothing = Layer(np.zeros((8, 8), np.float32), bias=1.0)
    net = Network([nothing, Layer(np.eye(8), bias=0.0), nothing])
    partition = esp.partition(net, 4, sweeps=1)

    assert all(np.bincount(owners, minlength=4).max() == 2 for owners in partition.owners)
    assert partition.report(net).total["hypergraph"].words == 0


@pytest.mark.parametrize("parts", [2, 64, 512])
def test_many_parts_are_even(parts):
    net = esp.radixnet(1024, 4)
    layers = esp.partition(net, parts).report(net).layers["hypergraph"]

    assert max(each.imbalance for each in layers) == 0.0


def test_weights_beyond_32_bits_keep_their_proportions():
    weights = np.array([2**33, 2**33, 2**34 + 1], np.int64)
    narrow, limits = mtkahypar._narrowed(weights, np.full(2, 2**34 + 2))

    assert narrow.sum() <= 2 * mtkahypar.MAX_TOTAL
    assert narrow[2] / narrow[0] == pytest.approx(2.0)
    assert limits[0] >= narrow[2] - 1
    assert mtkahypar._narrowed(np.array([6, 9]), np.array([9]))[0].tolist() == [2, 3]


def test_owners_that_are_moved_are_noticed(monkeypatch):
    layer = esp.radixnet(64, 1)[0]
    monkeypatch.setattr("espalier.partitioning.partition_layer.layer_volume", lambda *_: _Words(-1))
    with pytest.raises(esp.EspalierError, match="but -1 would be sent; please report"):
        partition_layer(layer, spread(64, 4), 4, imbalance=None, seed=0)


def test_without_the_partitioner_the_extra_is_named(monkeypatch):
    mtkahypar._library.cache_clear()
    monkeypatch.setitem(sys.modules, "mtkahypar", None)
    try:
        with pytest.raises(MissingExtraError, match=r"pip install 'mtkahypar>="):
            esp.partition(esp.radixnet(64, 2), 4)
        assert predict(esp.radixnet(64, 2), 2).random_words > 0
        assert esp.partition(esp.radixnet(64, 2), 4, "block").parts == 4
    finally:
        mtkahypar._library.cache_clear()


def test_lazy_networks_pass_by_once():
    made = []

    class Source(esp.LayerSource):
        def __len__(self):
            return 5

        def layer(self, index):
            made.append(index)
            return esp.radixnet(64, 5)[index]

        def shape(self, index):
            return 64, 64

    seen = []
    esp.partition(Network(Source()), 4, progress=lambda done, total: seen.append((done, total)))

    assert made == [0, 1, 2, 3, 4]
    assert seen[-1] == (5, 5)


class _Words:
    def __init__(self, total_words):
        self.total_words = total_words
