"""What is saved reads back equal, bit for bit, in every format."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from safetensors import safe_open

import espalier as esp
from espalier import Layer, Network
from tests.files.networks import networks, small_network

FORMATS = ["net", "net.mtx", "net.tar.gz", "net.tar", "net.tgz", "net.safetensors"]


def same(first: Network, second: Network) -> bool:
    return len(first) == len(second) and all(a == b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15)
@given(network=networks())
def test_networks(name: str, network: Network) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        esp.save(network, path)
        assert same(esp.load(path), network)
        assert [file.name for file in Path(folder).iterdir()] == [name]


@pytest.mark.parametrize("name", ["net", "net.mtx", "net.safetensors"])
@pytest.mark.parametrize("lazy", [True, False])
def test_lazy_and_eager_are_equal(name: str, lazy: bool, tmp_path: Path) -> None:
    network = small_network()
    esp.save(network, tmp_path / name)
    loaded = esp.load(tmp_path / name, lazy=lazy)
    assert loaded.is_lazy is lazy
    assert loaded.shape(0) == (2, 3)
    assert loaded.connections == network.connections
    assert same(loaded, network)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_conversion(source: str, target: str, tmp_path: Path) -> None:
    network = small_network()
    esp.save(network, tmp_path / f"a-{source}")
    seen: list[tuple[int, int]] = []
    esp.convert(
        tmp_path / f"a-{source}",
        tmp_path / f"b-{target}",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert same(esp.load(tmp_path / f"b-{target}"), network)
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("name", FORMATS)
def test_saving_again_replaces(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    esp.save(small_network(), path)
    other = Network([Layer([[1.0]], 0.5), Layer([[2.0]], 0.5)])
    esp.save(other, path)
    assert same(esp.load(path), other)


@pytest.mark.parametrize("name", FORMATS)
def test_first_layers_only(name: str, tmp_path: Path) -> None:
    network = small_network()
    esp.save(network, tmp_path / name)
    assert same(esp.load(tmp_path / name, layers=2), network[:2])


def test_lazy_source_is_converted_while_its_folder_is_replaced(tmp_path: Path) -> None:
    network = small_network()
    esp.save(network, tmp_path / "net")
    esp.save(esp.load(tmp_path / "net", lazy=True), tmp_path / "net")
    assert same(esp.load(tmp_path / "net"), network)


def test_same_network_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("net.tar.gz", "net.safetensors"):
        esp.save(small_network(), tmp_path / name)
        first = (tmp_path / name).read_bytes()
        esp.save(small_network(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == first


def test_safetensors_library_reads_our_file(tmp_path: Path) -> None:
    network = small_network()
    esp.save(network, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "numpy") as file:
        assert file.metadata()["format"] == "espalier-network"
        assert len(file.keys()) == 4 * len(network)
        assert file.get_tensor("0.row_offsets").dtype == np.int64
        np.testing.assert_array_equal(file.get_tensor("2.values"), network[2].values)


def test_official_safetensors_order_is_read(tmp_path: Path) -> None:
    """The safetensors library writes tensors in an order of its own."""
    from safetensors.numpy import save_file

    network = small_network()
    path = tmp_path / "net.safetensors"
    esp.save(network, path)
    with safe_open(path, "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    assert same(esp.load(path), network)


@settings(max_examples=30)
@given(network=networks())
def test_values_of_text_are_exact(network: Network) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.mtx"
        esp.save(network[:1], path)
        assert same(esp.load(path), network[:1])
