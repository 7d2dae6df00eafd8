"""The hypergraph method: few words, even parts, whatever the network."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier import Layer, Network
from espalier.partitioning import layer_volume
from espalier.partitioning.balance import max_part_weights
from espalier.partitioning.hypergraph import Hypergraph
from tests.support.networks import cases


def words_of(net, partition):
    report = partition.report(net)
    return [figures.words for figures in report.layers[partition.method]]


@settings(max_examples=40)
@given(case=cases(max_layers=4), parts=st.integers(1, 70), sweeps=st.integers(0, 1))
def test_any_network_can_be_cut(case, parts, sweeps):
    partition = esp.partition(case.network, parts, sweeps=sweeps)

    partition.check(case.network)
    assert max(owners.max(initial=0) for owners in partition.owners) < parts


def test_challenge_networks_send_few_words_at_perfect_balance():
    net = esp.radixnet(1024, 14, seed=1)
    report = esp.partition(net, 8).report(net)
    layers = report.layers["hypergraph"]

    assert [each.words for each in layers[:3]] == [128, 256, 512]
    assert max(each.words for each in layers) <= 1000
    assert all(each.imbalance == 0.0 for each in layers)
    assert report.total["random"].words > 7 * report.total["hypergraph"].words


def test_the_official_network_sends_at_most_a_thousand_words_a_layer(challenge_data):
    net = esp.load(challenge_data / "neuron1024.tar.gz", layers=30)
    layers = esp.partition(net, 8).report(net).layers["hypergraph"]

    assert [each.words for each in layers[:3]] == [128, 256, 512]
    assert max(each.words for each in layers) <= 1000
    assert all(each.imbalance == 0.0 for each in layers)


def test_equal_rows_stay_together_as_far_as_balance_allows():
    layer = esp.radixnet(1024, 7)[6]
    for parts, size in ((8, 16), (128, 8), (512, 2), (1024, 1)):
        graph = Hypergraph.of(layer, None, parts)
        assert np.bincount(graph.vertex_of).tolist() == [size] * (1024 // size)


CUT = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
import espalier as esp
print(esp.partition(esp.random_network(512, 3, connections=6), 8, sweeps=1).fingerprint)
"""


def test_cuts_are_the_same_on_any_number_of_threads():
    found = {
        subprocess.run(
            [sys.executable, "-c", CUT, str(cores)], capture_output=True, text=True, check=True
        ).stdout
        for cores in (1, 1, 64, 64)
    }
    assert len(found) == 1


def test_rows_of_unequal_weight_are_balanced_by_weight():
    rng = np.random.default_rng(0)
    dense = rng.random((200, 300)) < rng.random((200, 1)) * 0.2
    net = Network([Layer(dense.astype(np.float32), bias=0.0)])
    owners = esp.partition(net, 4).owners

    volume = layer_volume(net[0], owners[0], owners[1], 4)
    assert volume.imbalance < 0.02
    loose = esp.partition(net, 4, imbalance=0.2).owners
    assert layer_volume(net[0], loose[0], loose[1], 4).imbalance <= 0.2 + 0.02


def test_sweeps_help():
    net = esp.radixnet(1024, 6)
    words = [sum(words_of(net, esp.partition(net, 8, sweeps=n))) for n in (0, 1, 2)]

    assert words[0] > words[1] >= words[2]


def test_parts_may_outnumber_rows():
    net = Network([Layer(np.eye(3), bias=0.0), Layer(np.ones((2, 3)), bias=0.0)])
    partition = esp.partition(net, 5)

    assert words_of(net, partition) == [
        0,
        layer_volume(net[1], *partition.owners[1:], 5).total_words,
    ]


@pytest.mark.parametrize(
    ("weights", "parts", "imbalance", "limit"),
    [
        ([4] * 6, 3, None, 8),
        ([4] * 7, 3, None, 12),
        ([5, 1, 1, 1], 2, None, 5),
        ([6, 3, 3, 3], 2, None, 9),
        ([4] * 3, 2, 0.0, 8),
        ([1] * 8, 2, 0.5, 6),
    ],
)
def test_limits_are_as_even_as_rows_allow(weights, parts, imbalance, limit):
    assert max_part_weights(np.array(weights), parts, imbalance).tolist() == [limit] * parts
