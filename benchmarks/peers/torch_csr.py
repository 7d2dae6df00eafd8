"""torch: CSR weights times a dense batch ``[neurons, samples]``, by MKL where torch has it."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import ConvertedLayer, Outcome, Peer
from espalier.errors import MissingExtraError
from espalier.network import Layer


class TorchCsr(Peer):
    """``torch.addmm`` in inference mode into a preallocated output; torch shares the work out."""

    name: ClassVar[str] = "torch CSR"
    slab_entries: ClassVar[int] = 2**18

    def _prepare(self, layers: list[Layer]) -> None:
        super()._prepare(layers)
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "bench", "the peer torch CSR") from None
        self._torch = torch
        torch.set_num_threads(self.threads)

    def run(self, slabs: list[Any]) -> list[Outcome]:
        with self._torch.inference_mode():
            return super().run(slabs)

    def _convert(self, layer: Layer) -> ConvertedLayer:
        tensor = self._torch.tensor
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            weights = self._torch.sparse_csr_tensor(
                tensor(layer.weights.indptr),
                tensor(layer.column_indices),
                tensor(layer.values),
                size=layer.weights.shape,
                check_invariants=True,
            )
        return ConvertedLayer(
            weights, tensor(layer.bias)[:, None], layer.activation == "relu", layer.clip
        )

    def _load(self, slab: Any) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(slab.toarray().T))

    def _rows(self, batch: Any) -> int:
        return int(batch.shape[1])

    def _workspace(self, rows: int) -> list[Any]:
        return [self._torch.empty(self._widest * rows) for _ in range(2)]

    def _step(self, layer: ConvertedLayer, batch: Any, workspace: list[Any]) -> Any:
        workspace.reverse()
        outputs, rows = layer.weights.shape[0], batch.shape[1]
        out = workspace[0][: outputs * rows].view(outputs, rows)
        self._torch.addmm(layer.bias.expand(outputs, rows), layer.weights, batch, out=out)
        if layer.relu:
            out.clamp_(0.0, layer.clip)
        return out

    def _alive(self, batch: Any) -> NDArray[np.int_]:
        return np.asarray(batch.any(dim=0).nonzero().ravel().numpy())

    def _take(self, batch: Any, rows: NDArray[np.int_]) -> Any:
        return batch[:, self._torch.from_numpy(rows)]

    def _dense(self, batch: Any) -> NDArray[np.float32]:
        return np.asarray(batch.T.numpy())
