"""Biases for sparse batches: one more input that is constant, for networks that need it.

A product of sparse matrices has no entry where nothing was added up. A bias of at most 0 before
a ReLU may be left out there; any other must not. Those networks get one more neuron in every
layer, which always holds the same number and feeds every neuron its bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.peer import revives_dead_rows
from espalier.network import Layer


class BiasInput:
    """Adds the constant neuron to weights and batches, or leaves them as they are."""

    def __init__(self, layers: list[Layer]) -> None:
        self.needed = any(revives_dead_rows(layer) for layer in layers)
        # The constant has to pass through every layer's clip unchanged.
        self._constant = min([1.0, *(layer.clip for layer in layers if layer.clip is not None)])

    def transposed_weights(self, layer: Layer) -> Any:
        """CSR ``[inputs, outputs]``, biases as one more row where needed."""
        weights: Any = layer.weights
        if self.needed:
            bias = sp.csr_array(layer.bias[:, None] / np.float32(self._constant))
            weights = sp.block_array([[weights, bias], [None, sp.csr_array([[np.float32(1.0)]])]])
        return sp.csr_array(weights.T, dtype=np.float32)

    def batch(self, slab: Any) -> Any:
        """CSR ``[samples, inputs]``, the constant as one more column where needed."""
        if self.needed:
            constant = np.full((slab.shape[0], 1), self._constant, dtype=np.float32)
            slab = sp.hstack([slab, sp.csr_array(constant)])
        return sp.csr_array(slab, dtype=np.float32)
