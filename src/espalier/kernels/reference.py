"""What every kernel must compute, in float64 and as plainly as it can be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.network import Layer, Network


def spmm(layer: Layer, x: Any) -> NDArray[np.float64]:
    """One layer over samples: ``clamp(x @ weights.T + bias)``.

    Arguments:
        x: ``[samples, inputs]``, numpy or scipy sparse.

    Returns:
        float64 ``[samples, outputs]``.

    >>> spmm(Layer([[1.0, 2.0], [0.0, 1.0]], bias=-1.0, clip=4.0), [[1.0, 3.0]]).tolist()
    [[4.0, 2.0]]
    """
    dense = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
    result = np.zeros((len(dense), layer.outputs))
    for output in range(layer.outputs):
        begin, end = layer.row_offsets[output : output + 2]
        columns = layer.column_indices[begin:end]
        weights = layer.values[begin:end].astype(np.float64)
        result[:, output] = dense[:, columns] @ weights + layer.bias[output]
    return activate(layer, result)


def activate(layer: Layer, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The layer's activation and clip."""
    if layer.activation == "relu":
        sums = np.maximum(sums, 0.0)
    return sums if layer.clip is None else np.minimum(sums, layer.clip)


def infer(network: Network, x: Any) -> NDArray[np.float64]:
    """All layers in turn: float64 ``[samples, outputs]``."""
    for layer in network:
        x = spmm(layer, x)
    return np.asarray(x, dtype=np.float64)


def tolerance(network: Network, x: Any) -> float:
    """Largest difference that float32 and another order of summation explain.

    The error of one sum is at most ``(k + 2) u (|w| |x| + |b|)`` for ``k`` weights and the unit
    roundoff ``u`` (Higham, Accuracy and Stability, section 3.1); it reaches the next layer through
    ``|w|``, and neither ReLU nor clipping enlarges it.
    """
    unit = 2.0**-24
    values = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
    error = np.zeros_like(values)
    for layer in network:
        weights = sp.csr_array(
            (np.abs(layer.values.astype(np.float64)), layer.column_indices, layer.row_offsets),
            shape=layer.weights.shape,
        )
        through = (weights @ error.T).T
        sizes = (weights @ np.abs(values).T).T + np.abs(layer.bias) + through
        error = through + (np.diff(layer.row_offsets) + 2) * unit * sizes
        values = spmm(layer, values)
    return 4.0 * float(error.max(initial=0.0))
