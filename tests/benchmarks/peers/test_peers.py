from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.peers import PEERS, GraphBlasMxm, Peer, ScipyDense, TorchCsr
from espalier import (
    InputError,
    Layer,
    MissingExtraError,
    Network,
    challenge_images,
    radixnet,
    random_network,
)

REQUIRES = {TorchCsr: "torch", GraphBlasMxm: "graphblas"}

INPUTS = challenge_images(neurons=256, count=300)


def reference(network: Network, inputs: sp.csr_array) -> NDArray[np.float64]:
    rows = inputs.toarray().T.astype(np.float64)
    for layer in network:
        rows = layer.weights.astype(np.float64) @ rows + layer.bias[:, None]
        if layer.activation == "relu":
            rows = np.clip(rows, 0.0, layer.clip)
    return rows.T


@pytest.fixture(params=PEERS, ids=lambda peer: peer.name)
def peer_class(request: pytest.FixtureRequest) -> type[Peer]:
    peer: type[Peer] = request.param
    if peer in REQUIRES:
        pytest.importorskip(REQUIRES[peer])
    return peer


def run(
    peer_class: type[Peer], network: Network, inputs: sp.csr_array, **settings: int
) -> NDArray[np.float32]:
    peer = peer_class(network, **settings)  # type: ignore[arg-type]
    slabs = peer.load(inputs)
    first = peer.activations(peer.run(slabs), slabs)
    assert np.array_equal(first, peer.activations(peer.run(slabs), slabs)), (
        "a run changed its batch"
    )
    return first


NETWORKS = {
    "challenge": radixnet(256, 20, bias=-0.15),
    "structureless": random_network(256, 12),
    "rectangular": random_network([256, 300, 40, 7], connections=20),
    "small clip": random_network(256, 5, clip=0.5),
    "no clip": random_network(256, 5, clip=None),
    "identity last": Network(
        [
            random_network(256, 1)[0],
            Layer(random_network(256, 2)[1].weights, -0.2, activation="identity"),
        ]
    ),
    "empty rows": Network(
        [Layer(sp.csr_array((50, 256)), -1.0), Layer(sp.csr_array((9, 50)), [0.5] * 9)]
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_peer_computes_the_reference(peer_class: type[Peer], name: str, threads: int) -> None:
    network = NETWORKS[name]
    found = run(peer_class, network, INPUTS, threads=threads)
    np.testing.assert_allclose(found, reference(network, INPUTS), rtol=1e-4, atol=1e-4)


def test_dropping_dead_rows_changes_nothing(peer_class: type[Peer]) -> None:
    network = NETWORKS["challenge"]
    expected = reference(network, INPUTS)
    alive = expected.any(axis=1).sum()
    assert 0 < alive < 300
    found = run(peer_class, network, INPUTS, drop_dead_rows=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_variant_shares_the_weights(peer_class: type[Peer]) -> None:
    network = NETWORKS["challenge"]
    peer = peer_class(network)
    other = peer.variant(drop_dead_rows=True, slab=70)
    assert (peer.drop_dead_rows, other.drop_dead_rows, other.slab) == (False, True, 70)
    slabs = other.load(INPUTS)
    assert len(slabs) == 5
    found = other.activations(other.run(slabs), slabs)
    np.testing.assert_allclose(found, reference(network, INPUTS), rtol=1e-4, atol=1e-4)


def test_several_slabs(peer_class: type[Peer]) -> None:
    network = NETWORKS["rectangular"]
    found = run(peer_class, network, INPUTS, threads=2, slab=70)
    np.testing.assert_allclose(found, reference(network, INPUTS), rtol=1e-4, atol=1e-4)


def test_all_rows_dead(peer_class: type[Peer]) -> None:
    network = radixnet(256, 8, bias=-20.0)
    for filtered in (False, True):
        found = run(peer_class, network, INPUTS, threads=2, slab=70, drop_dead_rows=filtered)
        assert found.shape == (300, 256) and not found.any()


def test_dense_inputs_and_no_inputs(peer_class: type[Peer]) -> None:
    network = NETWORKS["rectangular"]
    dense = run(peer_class, network, INPUTS[:5].toarray())
    np.testing.assert_allclose(dense, reference(network, INPUTS[:5]), rtol=1e-4, atol=1e-4)
    assert run(peer_class, network, INPUTS[:0]).shape == (0, 7)


@pytest.mark.parametrize("name", ["structureless", "identity last"])
def test_dead_rows_that_would_come_back_are_not_dropped(name: str) -> None:
    with pytest.raises(InputError, match="back to life"):
        ScipyDense(NETWORKS[name], drop_dead_rows=True)


@pytest.mark.parametrize(("peer_class", "module"), REQUIRES.items())
def test_a_missing_library_is_named(
    peer_class: type[Peer], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'matplotlib"):
        peer_class(NETWORKS["rectangular"])
