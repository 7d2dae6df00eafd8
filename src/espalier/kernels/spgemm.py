"""spgemm: sparse samples times sparse weights, in the FSSL paper's three strategies.

Wang et al., HPEC 2019, Tables IV-VI: *with buffer* keeps the workspace and the output from layer
to layer, *without buffer* allocates and counts anew for each one, *with filter* also drops the
samples that became all zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier import _native
from espalier.errors import InputError
from espalier.kernels.samples import check_samples, name_bad_sample
from espalier.kernels.spmm import InputMajor, PackedLayer, pack, pack_by_input
from espalier.kernels.threads import thread_count
from espalier.network import Layer


class SparseProduct:
    """A batch of sparse samples that is multiplied in place, layer by layer.

    Arguments:
        x: ``[samples, inputs]``, scipy sparse or numpy.

    Raises:
        InputError: samples that are damaged or not finite.

    >>> batch = SparseProduct(sp.csr_array(np.float32([[1.0, 0.0], [0.0, 0.0]])))
    >>> batch.multiply(batch.prepare(Layer([[2.0, 1.0], [-1.0, 0.0]], bias=0.0)))
    >>> batch.drop_empty_rows()
    >>> batch.samples.tolist(), batch.matrix().toarray().tolist()
    ([0], [[2.0, 0.0]])
    """

    def __init__(self, x: Any, threads: int | None = None):
        checked = check_samples(x, x.shape[1])
        matrix: Any = sp.csr_array(checked) if isinstance(checked, np.ndarray) else checked
        self._threads = thread_count(threads)
        self._width = int(matrix.shape[1])
        offsets = matrix.indptr.astype(np.int64)
        columns, values = matrix.indices[: offsets[-1]], matrix.data[: offsets[-1]]
        inside = (columns >= 0) & (columns < self._width)
        if not (inside.all() and np.isfinite(values).all()):
            raise name_bad_sample(matrix)
        self._run = _native.SpgemmRun(offsets, columns.astype(np.int32), values, self._width)

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
