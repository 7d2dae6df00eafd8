"""Running a sparse network: the inference engine beside scipy's and PyTorch's CSR products."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.cli.workloads.workload import PAYS, Workload
from espalier.generate import challenge_images, radixnet, random_network
from espalier.inference import Plan, compile
from espalier.network import Network

Array = NDArray[np.float32]
Multiply = Callable[[int, Array], Array]  # layer, activations [neurons, samples]


def challenge(samples: int, neurons: int, layers: int, threads: int) -> Workload:
    """A RadiX-Net reads digits, as in the Graph Challenge; every shortcut is proven for it."""
    inputs = challenge_images(neurons, samples, seed=0)
    return _workload(radixnet(neurons, layers), inputs.toarray(), threads)


def structureless(samples: int, neurons: int, layers: int, threads: int) -> Workload:
    """Random columns and weights, where no shortcut applies and the kernels decide."""
    noise = np.random.default_rng(0).standard_normal((samples, neurons), dtype=np.float32)
    return _workload(random_network(neurons, layers), np.maximum(noise, 0.0), threads)


def _workload(network: Network, inputs: Any, threads: int) -> Workload:
    network = Network(list(network))  # generated once, for all
    plan = compile(network, threads=threads)
    assert isinstance(plan, Plan)
    samples = np.ascontiguousarray(inputs, dtype=np.float32)
    matrices = [layer.weights for layer in network]
    multiplies: dict[str, Multiply] = {"scipy CSR": lambda index, batch: matrices[index] @ batch}
    with contextlib.suppress(ImportError):
        multiplies["torch CSR"] = _torch_multiply(matrices)
    peers = {name: partial(_run, network, samples, each) for name, each in multiplies.items()}
    return Workload(lambda: [plan.run(samples, "unique").activations], peers, _advice, {})


def _run(network: Network, samples: Array, multiply: Multiply) -> Sequence[Array]:
    """Run all layers; samples whose row is all zero are dropped once they are more than half."""
    batch = np.ascontiguousarray(samples.T)
    kept = np.arange(len(samples))
    for index, layer in enumerate(network):
        batch = multiply(index, batch)
        batch += layer.bias[:, None]
        np.clip(batch, 0.0, layer.clip, out=batch)
        alive = np.flatnonzero(batch.any(axis=0))
        if 2 * len(alive) < len(kept):
            batch, kept = np.ascontiguousarray(batch[:, alive]), kept[alive]
    outputs = np.zeros((len(samples), network.outputs), np.float32)
    outputs[kept] = batch.T
    return [outputs]


def _torch_multiply(matrices: Sequence[sp.csr_array]) -> Multiply:
    import torch

    tensors = [torch_csr(matrix) for matrix in matrices]

    def multiply(index: int, batch: Array) -> Array:
        with torch.inference_mode():
            return np.asarray((tensors[index] @ torch.from_numpy(batch)).numpy())

    return multiply


def torch_csr(matrix: sp.csr_array, values: NDArray[np.float32] | None = None) -> Any:
    """A matrix as a CSR tensor, with indices of 32 bits, which MKL wants.

    Arguments:
        values: in place of those of the matrix.
    """
    import torch

    values = np.array(matrix.data if values is None else values, np.float32)
    parts = (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), values)
    offsets, columns, numbers = map(torch.from_numpy, parts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            offsets, columns, numbers, size=matrix.shape, check_invariants=True
        )


def _advice(gains: Mapping[str, float]) -> str:
    best = min(gains, key=lambda name: gains[name])
    if gains[best] < PAYS:
        return f"Stay with {best} for such networks on this machine."
    return "Run such networks with espalier.infer."
