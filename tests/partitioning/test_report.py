"""What a partition's report says."""

from __future__ import annotations

import json

import numpy as np
import pytest

import espalier as esp
from espalier import Layer, Network
from espalier.partitioning import Partition, PartitionReport
from espalier.partitioning.report import plot_report


def test_the_crossover_batch_is_where_replicas_send_as_much():
    net = Network([Layer(np.ones((4, 4)), bias=0.0)])
    halves = np.array([0, 0, 1, 1], np.int32)
    report = Partition(2, [halves, halves], "block").report(net)

    assert report.total["block"].words == 4
    assert report.crossover_batch == 16 * 1 / 4  # non-zeros times (P - 1) over words


def test_nothing_is_sent_by_one_part():
    net = esp.radixnet(64, 2)
    report = esp.partition(net, 1).report(net)

    assert report.total["hypergraph"].words == 0
    assert "nothing is sent" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["crossover_batch"] is None


def test_layers_add_up_and_peers_stand_beside():
    net = esp.radixnet(256, 5)
    report = esp.partition(net, 4).report(net)

    assert list(report.layers) == ["hypergraph", "random", "block"]
    for name, total in report.total.items():
        assert total.words == sum(each.words for each in report.layers[name])
    assert "times fewer words than random" in str(report)


def test_a_picture_can_be_drawn(tmp_path):
    net = esp.radixnet(256, 3)
    plot_report(esp.partition(net, 4, "hash").report(net), tmp_path / "words.png")

    assert (tmp_path / "words.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("parts", [2, 5])
def test_random_is_compared_with_itself_only_once(parts):
    net = esp.radixnet(64, 2)
    assert list(esp.partition(net, parts, "random").report(net).layers) == ["random", "block"]


def test_it_is_made_of_a_partition_too():
    net = esp.radixnet(64, 2)
    parts = esp.partition(net, 2)
    assert PartitionReport.of(parts, net) == parts.report(net)
