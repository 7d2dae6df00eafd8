"""spgemm: sparse samples times sparse weights, in the FSSL paper's three strategies.

Wang et al., HPEC 2019, Tables IV-VI: *with buffer* keeps the workspace and the output from layer
to layer, *without buffer* allocates and counts anew for each one, *with filter* also drops the
samples that became all zero.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError
from espalier.kernels.spmm import InputMajor, PackedLayer, pack, pack_by_input
from espalier.network import Layer

MAX_NONZEROS = np.iinfo(np.int32).max


class SparseProduct:
    """A batch of sparse samples that is multiplied in place, layer by layer.

    Arguments:
        x: scipy CSR ``[samples, inputs]``.

    >>> batch = SparseProduct(sp.csr_array(np.float32([[1.0, 0.0], [0.0, 0.0]])))
    >>> batch.multiply(batch.prepare(Layer([[2.0, 1.0], [-1.0, 0.0]], bias=0.0)))
    >>> batch.drop_empty_rows()
    >>> batch.samples.tolist(), batch.matrix().toarray().tolist()
    ([0], [[2.0, 0.0]])
    """

    def __init__(self, x: sp.csr_array[np.float32, tuple[int, int]], threads: int | None = None):
        if x.nnz > MAX_NONZEROS or x.shape[1] > MAX_NONZEROS:
            raise InputError(f"x holds {x.nnz:,} non-zeros, spgemm takes at most {MAX_NONZEROS:,}")
        if not np.isfinite(x.data).all():
            raise InputError("x holds a value that is not finite")
        self._threads = threads or 0
        self._width = int(x.shape[1])
        self._run = _native.SpgemmRun(
            x.indptr.astype(np.int64),
            np.ascontiguousarray(x.indices, dtype=np.int32),
            np.ascontiguousarray(x.data, dtype=np.float32),
            self._width,
        )

    @staticmethod
    def prepare(layer: Layer) -> tuple[PackedLayer, InputMajor]:
        """The layer in the two forms `multiply` needs: bias and clamp, weights by input."""
        return pack(layer), pack_by_input(layer)

    def multiply(self, prepared: tuple[PackedLayer, InputMajor], reuse: bool = True) -> None:
        """Replace the samples by ``clamp(samples @ weights.T + bias)``.

        Arguments:
            reuse: keep workspace and output memory for the next layer (*with buffer*).
        """
        layer, weights = prepared
        if layer.inputs != self._width:
            raise InputError(f"samples have width {self._width}, the layer reads {layer.inputs}")
        self._run.multiply(layer, weights, reuse, self._threads)
        self._width = layer.outputs

    def drop_empty_rows(self) -> None:
        """Drop samples that are all zero: exact where zero rows stay zero (*with filter*)."""
        self._run.drop_empty_rows()

    @property
    def nonzeros(self) -> int:
        """Stored activations now."""
        return int(self._run.nonzeros)

    @property
    def rows(self) -> int:
        """Samples left."""
        return int(self._run.rows)

    @property
    def samples(self) -> NDArray[np.int64]:
        """The caller's row number of each sample left."""
        return np.asarray(self._run.result()[3])

    def matrix(self) -> sp.csr_array[np.float32, tuple[int, int]]:
        """The samples now, ``[rows, width]``, columns rising, zeros left out."""
        offsets, columns, values, _ = self._run.result()
        return sp.csr_array((values, columns, offsets), shape=(self.rows, self._width))
