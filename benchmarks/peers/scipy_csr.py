"""scipy: CSR weights times a dense batch, and a sparse batch times CSR weights."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools

from benchmarks.peers.bias_input import BiasInput
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


class SpgemmLayer(NamedTuple):
    weights: Any
    layer: Layer


class ScipySpgemm(Peer):
    """``batch @ weights`` of two CSR matrices; every thread takes slabs of its own."""

    name: ClassVar[str] = "scipy SpGEMM"
    slab_entries: ClassVar[int] = 2**20
    threads_share_slabs: ClassVar[bool] = True

    def _prepare(self, layers: list[Layer]) -> None:
        super()._prepare(layers)
        self._bias_input = BiasInput(layers)

    def _convert(self, layer: Layer) -> SpgemmLayer:
        return SpgemmLayer(self._bias_input.transposed_weights(layer), layer)

    def _load(self, slab: Any) -> Any:
        return self._bias_input.batch(slab)

    def _rows(self, batch: Any) -> int:
        return int(batch.shape[0])

    def _step(self, converted: SpgemmLayer, batch: Any, workspace: None) -> Any:
        layer = converted.layer
        product = batch @ converted.weights
        if not self._bias_input.needed:
            product.data += layer.bias[product.indices]
        if layer.activation == "relu":
            np.clip(product.data, 0.0, layer.clip, out=product.data)
            product.eliminate_zeros()
        return product

    def _alive(self, batch: Any) -> NDArray[np.int_]:
        return np.flatnonzero(np.diff(batch.indptr))

    def _take(self, batch: Any, rows: NDArray[np.int_]) -> Any:
        return batch[rows]

    def _dense(self, batch: Any) -> NDArray[np.float32]:
        return np.asarray(batch.toarray()[:, : self._outputs])
