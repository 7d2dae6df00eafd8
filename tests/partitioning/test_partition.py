"""Partitions: every method, the file, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier import FileError, InputError
from espalier.partitioning import METHODS, Partition, predict


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parts", [1, 3, 8, 200])
def test_every_neuron_has_a_part(method, parts):
    net = esp.radixnet(128, 3)
    partition = esp.partition(net, parts, method)

    assert [len(owners) for owners in partition.owners] == [128] * 4
    assert all(owners.dtype == np.int32 for owners in partition.owners)
    assert all(0 <= owners.min() <= owners.max() < parts for owners in partition.owners)
    assert (partition.parts, partition.method) == (parts, method)
    partition.check(net)


@pytest.mark.parametrize("method", METHODS)
def test_equal_arguments_give_equal_partitions(method):
    net = esp.random_network(96, 2, connections=5)
    one, same, other = (esp.partition(net, 4, method, seed=seed) for seed in (1, 1, 2))

    assert one.fingerprint == same.fingerprint
    if method in ("random", "hash"):
        assert one.fingerprint != other.fingerprint


def test_given_inputs_stay():
    inputs = np.arange(64)[::-1] % 4
    partition = esp.partition(esp.radixnet(64, 2), 4, inputs=inputs)

    np.testing.assert_array_equal(partition.owners[0], inputs)


@given(st.lists(st.lists(st.integers(0, 4), max_size=9), min_size=1, max_size=5))
def test_files_bring_back_what_was_saved(tmp_path_factory, owners):
    path = tmp_path_factory.mktemp("partition") / "net.partition"
    partition = Partition(5, [np.array(each, np.int32) for each in owners], "block", seed=3)
    partition.save(path)
    read = esp.load_partition(path)

    assert read.fingerprint == partition.fingerprint
    assert (read.parts, read.method, read.seed) == (5, "block", 3)
    assert [each.tolist() for each in read.owners] == owners


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.partition"
    esp.partition(esp.radixnet(64, 2), 4, "random").save(path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 37):
        path.write_bytes(whole[:position])
        with pytest.raises(FileError):
            esp.load_partition(path)
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        try:
            read = esp.load_partition(path)
        except FileError:
            continue
        # A bit of the header's padding or of the seed changes no owner.
        assert read.fingerprint == esp.partition(esp.radixnet(64, 2), 4, "random").fingerprint


def test_a_network_file_is_no_partition(tmp_path):
    esp.save(esp.radixnet(64, 1), tmp_path / "net.safetensors")
    with pytest.raises(FileError, match="no partition"):
        esp.load_partition(tmp_path / "net.safetensors")
    with pytest.raises(FileError, match="does not exist"):
        esp.load_partition(tmp_path / "absent")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"parts": 0}, "parts is 0"),
        ({"parts": 2.5}, "parts is 2.5"),
        ({"parts": 2, "method": "metis"}, "method is 'metis'"),
        ({"parts": 2, "imbalance": -0.1}, "imbalance is -0.1"),
        ({"parts": 2, "imbalance": "0.1"}, "imbalance is '0.1'"),
        ({"parts": 2, "sweeps": -1}, "sweeps is -1"),
        ({"parts": 2, "inputs": [0, 1]}, "wanted the part of each of the network's 64 inputs"),
        ({"parts": 2, "inputs": [7] * 64}, "wanted 0 to 1"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        esp.partition(esp.radixnet(64, 2), **arguments)


@pytest.mark.parametrize("imbalance", [1e8, 1e300])
def test_a_part_may_be_allowed_everything(imbalance):
    pytest.importorskip("mtkahypar")
    net = esp.radixnet(64, 2)
    esp.partition(net, 2, imbalance=imbalance).check(net)


def test_a_seed_may_have_all_of_64_bits():
    net = esp.radixnet(64, 2)
    made = esp.partition(net, 2, "hash", seed=2**64 - 1)
    assert 0 < sum(made.owners[1]) < 64


def test_a_partition_knows_its_network():
    partition = esp.partition(esp.radixnet(64, 2), 2, "block")
    for other in (esp.radixnet(64, 3), esp.radixnet(128, 2)):
        with pytest.raises(InputError, match="partition this network"):
            partition.check(other)
    with pytest.raises(InputError, match="holds parts 0 to 3, wanted 0 to 1"):
        Partition(2, [np.array([0, 3])], "block")


def test_structureless_networks_are_told_apart_beforehand():
    little, much = (
        predict(net, 8) for net in (esp.random_network(1024, 3), esp.radixnet(1024, 12))
    )

    assert "little structure" in str(little)
    assert 1.0 < little.gain < 1.3
    assert "little structure" not in str(much)
    assert much.gain > 5.0
    with pytest.raises(InputError, match="one part sends nothing"):
        predict(esp.radixnet(64, 2), 1)
