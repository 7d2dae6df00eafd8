"""scipy: CSR weights times a dense batch ``[neurons, samples]``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools

from benchmarks.peers.peer import Peer
from espalier.network import Layer


class ScipyDense(Peer):
    """scipy's own CSR product, called below ``@`` so that it adds to a preallocated output.

    The product holds no lock, so every thread takes slabs of its own.
    """

    name: ClassVar[str] = "scipy CSR"
    slab_entries: ClassVar[int] = 2**20
    threads_share_slabs: ClassVar[bool] = True

    def _convert(self, layer: Layer) -> Layer:
        return layer

    def _load(self, slab: Any) -> NDArray[np.float32]:
        return np.ascontiguousarray(slab.toarray().T)

    def _rows(self, batch: NDArray[np.float32]) -> int:
        return int(batch.shape[1])

    def _workspace(self, rows: int) -> list[NDArray[np.float32]]:
        return [np.empty(self._widest * rows, dtype=np.float32) for _ in range(2)]

    def _step(
        self, layer: Layer, batch: NDArray[np.float32], workspace: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        workspace.reverse()
        rows = batch.shape[1]
        out = workspace[0][: layer.outputs * rows].reshape(layer.outputs, rows)
        out[:] = layer.bias[:, None]
        csr = layer.weights
        _sparsetools.csr_matvecs(
            *csr.shape, rows, csr.indptr, csr.indices, csr.data, batch.ravel(), out.ravel()
        )
        if layer.activation == "relu":
            np.clip(out, 0.0, layer.clip, out=out)
        return out

    def _alive(self, batch: NDArray[np.float32]) -> NDArray[np.int_]:
        return np.flatnonzero(batch.any(axis=0))

    def _take(self, batch: NDArray[np.float32], rows: NDArray[np.int_]) -> NDArray[np.float32]:
        return np.take(batch, rows, axis=1)

    def _dense(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch.T
