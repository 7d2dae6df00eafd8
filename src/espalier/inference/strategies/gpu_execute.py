"""One run of a strategy on a GPU: sparse products by cuSPARSE, our own kernels between them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.cuda import Device, Event, Memory, arguments
from espalier.errors import DeviceMemoryError
from espalier.inference.strategies.cusparse import Cusparse
from espalier.network import Layer
from espalier.progress import Progress

_THREADS, _SCAN_THREADS, _WARPS = 256, 1024, 8
_FEWEST_SAMPLES = 64
_MOST_ENTRIES = 2**31 - 1


class DeviceLayer:
    """Weights ``[inputs, outputs]`` in CSR, and the bias, on the device."""

    def __init__(self, device: Device, layer: Layer, stream: int) -> None:
        self.inputs, self.outputs, self.nonzeros = layer.inputs, layer.outputs, layer.nonzeros
        self.lower, self.upper = layer.bounds
        transposed = sp.csr_array(layer.weights.T)
        offsets, columns = (
            each.astype(np.int32) for each in (transposed.indptr, transposed.indices)
        )
        arrays: list[NDArray[Any]] = [offsets, columns, transposed.data, layer.bias]
        self._memory, places = device.upload(arrays, stream)
        self.arrays, self.bias = places[:3], places[3]


class _Pool:
    """Memory by name: kept and only ever grown, or taken anew each time."""

    def __init__(self, device: Device, keep: bool) -> None:
        self._device, self._keep = device, keep
        self._held: dict[str, Memory] = {}

    def get(self, name: str, size: int) -> int:
        held = self._held.get(name)
        if held is None or not self._keep or held.bytes < size:
            if held is not None:
                held.free()
                del self._held[name]
            self._held[name] = held = self._device.allocate(size)
        return held.address

    def address(self, name: str) -> int:
        return self._held[name].address

    def free(self) -> None:
        for held in self._held.values():
            held.free()
        self._held.clear()


class StrategyRun:
    """One run: batches of samples through all layers.

    Attributes:
        parts, left: the last activations of each batch, and whose they are.
        operations: multiply-adds done.
        seconds: of loading, of all layers, of storing, by events.
    """

    def __init__(
        self,
        device: Device,
        stream: int,
        library: Any,
        layers: Sequence[DeviceLayer],
        strategy: str,
        x: Any,
        progress: Progress | None,
    ) -> None:
        self.device, self.stream, self.layers = device, stream, layers
        self.x, self.progress = x, progress
        self.library = Cusparse(library, device, stream)
        self.drop, self.keep = strategy == "filter", strategy != "no-buffer"
        self.parts: list[Any] = []
        self.left: list[NDArray[np.int64]] = []
        self.operations = 0.0
        self.seconds = [0.0, 0.0, 0.0]
        self.bad = False

    def batch(self, start: int, stop: int) -> None:
        """Samples `start` to `stop`, in halves where memory is short."""
        pool = _Pool(self.device, keep=self.keep)
        operations, seconds = self.operations, list(self.seconds)
        try:
            self._run(pool, start, stop)
        except DeviceMemoryError:
            pool.free()
            if stop - start <= _FEWEST_SAMPLES:
                raise
            self.operations, self.seconds = operations, seconds
            middle = (start + stop) // 2
            self.batch(start, middle)
            self.batch(middle, stop)
        finally:
            pool.free()

    def _run(self, pool: _Pool, start: int, stop: int) -> None:
        device, stream = self.device, self.stream
        begun, loaded, multiplied, stored = (Event(device) for _ in range(4))
        begun.record(stream)
        rows, entries = self._load(pool, start, stop)
        loaded.record(stream)
        side = 0
        for done, layer in enumerate(self.layers, 1):
            if rows and entries:
                self.operations += entries * layer.nonzeros / max(layer.inputs, 1)
                rows, entries = self._multiply(pool, layer, side, rows, entries)
                side = 1 - side
            if self.progress is not None and stop == self.x.shape[0]:
                self.progress(done, len(self.layers))
        multiplied.record(stream)
        self._fetch(pool, side, rows, entries, start)
        stored.record(stream)
        device.synchronize(stream)
        moments = begun, loaded, multiplied, stored
        for index, (later, earlier) in enumerate(zip(moments[1:], moments[:-1], strict=True)):
            self.seconds[index] += later.seconds_since(earlier)

    def _load(self, pool: _Pool, start: int, stop: int) -> tuple[int, int]:
        piece = self.x[start:stop]
        if piece.nnz > _MOST_ENTRIES:
            raise DeviceMemoryError(f"{piece.nnz:,} entries are more than int32 counts")
        rows = stop - start
        arrays: dict[str, NDArray[Any]] = {
            "offsets": piece.indptr.astype(np.int32),
            "columns": piece.indices.astype(np.int32),
            "values": piece.data,
            "sample": np.arange(rows, dtype=np.int32),
        }
        for name, array in arrays.items():
            self.device.copy_in(pool.get(f"{name}0", array.nbytes), array, self.stream)
        self.device.clear(pool.get("status", 4), 4, self.stream)
        self._at = {name: [pool.address(f"{name}0"), 0] for name in arrays}
        self._status = pool.address("status")
        return rows, piece.nnz

    def _multiply(
        self, pool: _Pool, layer: DeviceLayer, side: int, rows: int, entries: int
    ) -> tuple[int, int]:
        """One layer; returns the rows and entries that are left."""
        at, shape = self._at, (layer.inputs, layer.outputs)
        here = [at[name][side] for name in ("offsets", "columns", "values")]
        with ExitStack() as held:
            left = self.library.csr((rows, layer.inputs), entries, *here)
            held.callback(left.free)
            right = self.library.csr(shape, layer.nonzeros, *layer.arrays)
            held.callback(right.free)
            product = self.library.spgemm(left, right)
            held.callback(product.free)
            made = product.compute(
                lambda size: pool.get("first", size), lambda size: pool.get("second", size)
            )
            places = [pool.get("offsets", 4 * (rows + 1))]
            places += [pool.get(name, 4 * made) for name in ("columns", "values")]
            product.copy(*places)
            return self._respond(pool, layer, side, rows, made)

    def _respond(
        self, pool: _Pool, layer: DeviceLayer, side: int, rows: int, made: int
    ) -> tuple[int, int]:
        """Bias and clamp on the entries that a product made; what is 0 then leaves."""
        device, at, other = self.device, self._at, 1 - side
        for name, size in (("offsets", rows + 1), ("sample", rows)):
            at[name][other] = pool.get(f"{name}{other}", 4 * size)
        for name in ("columns", "values"):
            at[name][other] = pool.get(f"{name}{other}", 4 * made)
        totals = pool.get("totals", 8)
        step = arguments.CsrStep(
            offsets=pool.address("offsets"),
            columns=pool.address("columns"),
            values=pool.address("values"),
            bias=layer.bias,
            lower=layer.lower,
            upper=layer.upper,
            rows=rows,
            kept=pool.get("kept", 4 * rows),
            offsets_after=at["offsets"][other],
            columns_after=at["columns"][other],
            values_after=at["values"][other],
            sample=at["sample"][side],
            sample_after=at["sample"][other],
            totals=totals,
            drop=self.drop,
            status=self._status,
        )
        by_warps = -(-rows // _WARPS), 1
        device.launch("epilogue_csr", by_warps, _THREADS, step, self.stream)
        device.launch("place_rows", (1, 1), _SCAN_THREADS, step, self.stream)
        device.launch("compact_csr", by_warps, _THREADS, step, self.stream)
        rows_left, entries_left = device.read(totals, 2, np.int32, self.stream)
        return int(rows_left), int(entries_left)

    def _fetch(self, pool: _Pool, side: int, rows: int, entries: int, start: int) -> None:
        width = self.layers[-1].outputs
        if not rows or not entries:
            self.parts.append(sp.csr_array((0, width), dtype=np.float32))
            self.left.append(np.zeros(0, np.int64))
            return
        sizes = {"offsets": rows + 1, "columns": entries, "values": entries, "sample": rows}
        found = {}
        for name, size in sizes.items():
            dtype = np.float32 if name == "values" else np.int32
            found[name] = self.device.read(self._at[name][side], size, dtype, self.stream)
        self.bad |= bool(self.device.read(self._status, 1, np.int32, self.stream)[0])
        arrays = found["values"], found["columns"], found["offsets"]
        self.parts.append(sp.csr_array(arrays, shape=(rows, width)))
        self.left.append(found["sample"].astype(np.int64) + start)
