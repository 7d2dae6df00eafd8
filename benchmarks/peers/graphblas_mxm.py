"""SuiteSparse:GraphBLAS: the four calls a layer of LAGraph_dnn, through python-graphblas."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.bias_input import BiasInput
from benchmarks.peers.peer import ConvertedLayer, Peer
from espalier.errors import MissingExtraError
from espalier.network import Layer


class GraphBlasMxm(Peer):
    """Multiply, add the bias to the entries there are, keep those above 0, cut at the clip.

    GraphBLAS shares the work among its own threads, so the batch stays in one piece. It stores
    no empty rows, so dead rows cost little even when they are not dropped.

    Source: T. Davis, M. Aznaveh and S. Kolodziej, "Write Quick, Run Fast: Sparse Deep Neural
    Network in 20 Minutes of Development Time via SuiteSparse:GraphBLAS", HPEC 2019.
    """

    name: ClassVar[str] = "GraphBLAS"
    slab_entries: ClassVar[int] = 2**62

    def _prepare(self, layers: list[Layer]) -> None:
        super()._prepare(layers)
        try:
            import graphblas
        except ImportError:
            raise MissingExtraError("python-graphblas", "bench", "the peer GraphBLAS") from None
        self._graphblas = graphblas
        graphblas.ss.config["nthreads"] = self.threads
        self._bias_input = BiasInput(layers)

    def _convert(self, layer: Layer) -> ConvertedLayer:
        io = self._graphblas.io
        weights = io.from_scipy_sparse(self._bias_input.transposed_weights(layer))
        bias = None
        if not self._bias_input.needed:
            bias = self._graphblas.Vector.from_dense(layer.bias).diag()
        return ConvertedLayer(weights, bias, layer.activation == "relu", layer.clip)

    def _load(self, slab: Any) -> Any:
        return self._graphblas.io.from_scipy_sparse(self._bias_input.batch(slab))

    def _rows(self, batch: Any) -> int:
        return int(batch.nrows)

    def _step(self, layer: ConvertedLayer, batch: Any, workspace: None) -> Any:
        gb = self._graphblas
        product = gb.semiring.plus_times(batch @ layer.weights).new()
        if layer.bias is not None:
            product << gb.semiring.plus_plus(product @ layer.bias)
        if layer.relu:
            product << gb.select.valuegt(product, 0.0)
            if layer.clip is not None:
                product << product.apply(gb.binary.min, right=np.float32(layer.clip))
        return product

    def _alive(self, batch: Any) -> NDArray[np.int_]:
        rows = batch.reduce_rowwise(self._graphblas.monoid.any).new()
        return np.asarray(rows.to_coo(values=False)[0]).astype(np.int_)

    def _take(self, batch: Any, rows: NDArray[np.int_]) -> Any:
        return batch[rows, :].new()

    def _dense(self, batch: Any) -> NDArray[np.float32]:
        csr = self._graphblas.io.to_scipy_sparse(batch, format="csr")
        return np.asarray(csr.toarray()[:, : self._outputs], dtype=np.float32)
