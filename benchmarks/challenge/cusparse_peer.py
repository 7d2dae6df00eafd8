"""cuSPARSE's product of sparse weights and dense samples, layer by layer: the strongest library."""

from __future__ import annotations

import ctypes
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.challenge.device_comparison import Seconds
from espalier.cuda import Device, Event, Memory, arguments
from espalier.inference.strategies.cusparse import Cusparse, DenseProduct, load_library
from espalier.network import Network

_THREADS = 256
_MOST_DOWN, _MOST_ACROSS = 65_535, 4096


class SpmmPeer:
    """A network whose activations lie ``[neuron][sample]`` on the device.

    Arguments:
        batch: float32 ``[samples, inputs]``.
        library: cuSPARSE, or what stands in for it in a test.
    """

    def __init__(
        self, network: Network, batch: NDArray[np.float32], device: Device, library: Any = None
    ) -> None:
        self._device, self._samples = device, batch.shape[0]
        self._stream = device.stream_for(self)
        sparse = Cusparse(library or load_library(), device, self._stream)
        self._rows = np.ascontiguousarray(batch.T)
        width = max(network.inputs, *(layer.outputs for layer in network))
        self._buffers = [device.allocate(4 * width * self._samples) for _ in range(2)]
        self._weights: list[Memory] = []
        self._steps: list[tuple[DenseProduct, ctypes.Structure]] = []
        scratch = 1
        for index, layer in enumerate(network):
            parts = [layer.row_offsets.astype(np.int32), layer.column_indices, layer.values]
            places = [self._put(part) for part in (*parts, layer.bias)]
            shape = layer.outputs, layer.inputs
            left = sparse.csr(shape, layer.nonzeros, *places[:3])
            sides = self._buffers[index % 2].address, self._buffers[1 - index % 2].address
            product = sparse.spmm(left, *sides, self._samples)
            scratch = max(scratch, product.buffer_bytes)
            step = arguments.DenseStep(
                values=sides[1],
                bias=places[3],
                lower=0.0 if layer.activation == "relu" else -np.inf,
                upper=np.inf if layer.clip is None else layer.clip,
                samples=self._samples,
                outputs=layer.outputs,
            )
            self._steps.append((product, step))
        self._scratch = device.allocate(scratch)
        self._outputs = layer.outputs
        self._events = Event(device), Event(device)

    def run(self) -> Seconds:
        """All layers, from a copy of the samples to the end."""
        start = perf_counter()
        self._device.copy_in(self._buffers[0].address, self._rows, self._stream)
        begin, end = self._events
        begin.record(self._stream)
        for product, step in self._steps:
            self._multiply(product, step)
        end.record(self._stream)
        self._device.synchronize(self._stream)
        return Seconds(end.seconds_since(begin), perf_counter() - start)

    def outputs(self) -> NDArray[np.float32]:
        """The last activations of the last run, ``[samples, outputs]``."""
        found = np.empty((self._outputs, self._samples), np.float32)
        side = self._buffers[len(self._steps) % 2]
        self._device.copy_out(found, side.address, self._stream)
        return found.T

    def _multiply(self, product: DenseProduct, step: ctypes.Structure) -> None:
        product.run(self._scratch.address)
        across = min(-(-self._samples // _THREADS), _MOST_ACROSS)
        grid = across, min(step.outputs, _MOST_DOWN)
        self._device.launch("epilogue_dense", grid, _THREADS, step, self._stream)

    def _put(self, array: NDArray[Any]) -> int:
        memory = self._device.allocate(array.nbytes)
        self._weights.append(memory)
        self._device.copy_in(memory.address, np.ascontiguousarray(array), self._stream)
        return memory.address
