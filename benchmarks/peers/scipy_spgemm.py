"""scipy: sparse batch ``[samples, neurons]`` times sparse weights."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.bias_input import BiasInput
from benchmarks.peers.peer import Peer
from espalier.network import Layer


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
