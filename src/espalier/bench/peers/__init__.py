"""What a user could pick today instead: one small file per library, all for the same task."""

from __future__ import annotations

from espalier.bench.peers.graphblas_mxm import GraphBlasMxm
from espalier.bench.peers.peer import Peer
from espalier.bench.peers.scipy_dense import ScipyDense
from espalier.bench.peers.scipy_spgemm import ScipySpgemm
from espalier.bench.peers.torch_csr import TorchCsr

__all__ = ["PEERS", "GraphBlasMxm", "Peer", "ScipyDense", "ScipySpgemm", "TorchCsr"]

PEERS: tuple[type[Peer], ...] = (ScipyDense, ScipySpgemm, TorchCsr, GraphBlasMxm)
