"""What a user could pick today instead: one small file per library, all for the same task."""

from __future__ import annotations

from benchmarks.peers.graphblas_mxm import GraphBlasMxm
from benchmarks.peers.peer import Peer
from benchmarks.peers.scipy_csr import ScipyDense, ScipySpgemm
from benchmarks.peers.torch_csr import TorchCsr

__all__ = ["PEERS", "GraphBlasMxm", "Peer", "ScipyDense", "ScipySpgemm", "TorchCsr"]

PEERS: tuple[type[Peer], ...] = (ScipyDense, ScipySpgemm, TorchCsr, GraphBlasMxm)
