"""The caller's samples on their way into panels: from the host in pieces, on a device in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import Device, arguments
from espalier.cuda.arrays import DeviceView, on_device, read_device_array
from espalier.errors import InputError
from espalier.inference.gpu.workspace import Workspace
from espalier.kernels.samples import check_samples, name_bad_sample

_TRANSPOSED = 32  # samples and inputs that a block of `load_dense` transposes at a time
_CSR_WARPS = 8


@dataclass(frozen=True)
class PanelWriter:
    """The first buffer of a workspace, from some slot on, to be filled on a stream."""

    device: Device
    workspace: Workspace
    tile: int
    width: int
    stream: int
    first: int = 0

    def at(self, slot: int) -> PanelWriter:
        """From a later slot on, the first of a panel."""
        return replace(self, first=slot)

    def clear(self, samples: int) -> None:
        """Fill the panels of so many samples with zeros."""
        size = 4 * -(-samples // self.tile) * self.tile * self.width
        self.device.clear(self.workspace.buffers[0], size, self.stream)

    def transpose(self, x: DeviceView) -> None:
        """Fill the panels with rows on the device."""
        samples = x.shape[0]
        argument = arguments.LoadDense(
            x=x.address,
            row_stride=x.strides[0],
            column_stride=x.strides[1],
            samples=samples,
            **self._common(),
        )
        slots = -(-samples // self.tile) * self.tile
        grid = -(-self.width // _TRANSPOSED), slots // _TRANSPOSED
        self.device.launch("load_dense", grid, 8 * 32, argument, self.stream)

    def scatter(
        self, places: list[int], dtype: np.dtype[Any], samples: int, first_row: int = 0
    ) -> None:
        """Put the entries of CSR rows into panels that are clear.

        Arguments:
            places: addresses of row offsets, column indices and values.
            dtype: of the offsets and indices.
        """
        argument = arguments.LoadCsr(
            row_offsets=places[0],
            column_indices=places[1],
            values=places[2],
            first=first_row,
            samples=samples,
            **self._common(),
        )
        grid = -(-samples // _CSR_WARPS), 1
        name = f"load_csr_{dtype.name}"
        self.device.launch(name, grid, _CSR_WARPS * 32, argument, self.stream)

    def _common(self) -> dict[str, int]:
        address = self.workspace.buffers[0] + 4 * self.first * self.width
        status = self.workspace.status
        return {"panels": address, "inputs": self.width, "tile": self.tile, "status": status}


class SampleSource:
    """Some samples; subclasses say where they lie.

    Attributes:
        count, width: how many, and how wide each is.
        stream: on which the caller works on them, None for samples on the host.
    """

    count: int
    width: int
    stream: int | None = None

    def load(self, panels: PanelWriter, start: int, stop: int) -> None:
        """Put samples `start` to `stop` into panels."""
        raise NotImplementedError

    def name_bad(self) -> InputError:
        """The error for a sample that is not finite or has a column outside."""
        raise NotImplementedError


class HostDense(SampleSource):
    """numpy rows."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._x = x
        self.count, self.width = x.shape

    def load(self, panels: PanelWriter, start: int, stop: int) -> None:
        """Copy and transpose some panels at a time."""
        space, tile, stream = panels.workspace, panels.tile, panels.stream
        at_once = max(space.staging_bytes // max(4 * self.width * tile, 1), 1) * tile
        for begin in range(start, stop, at_once):
            piece = self._x[begin : min(begin + at_once, stop)]
            panels.device.copy_in(space.staging, np.ascontiguousarray(piece), stream)
            strides = self.width, 1
            view = DeviceView(space.staging, piece.shape, strides, piece.dtype, stream, None)
            panels.at(begin - start).transpose(view)

    def name_bad(self) -> InputError:
        return name_bad_sample(self._x)


class HostCsr(SampleSource):
    """scipy CSR."""

    def __init__(self, x: Any) -> None:
        if not x.has_canonical_format:  # a column twice would be written twice, not added
            x = x.copy()
            x.sum_duplicates()
        self._x = x
        self.count, self.width = x.shape

    def load(self, panels: PanelWriter, start: int, stop: int) -> None:
        """Clear the panels, then copy and scatter some samples at a time."""
        x, space = self._x, panels.workspace
        panels.clear(stop - start)
        for begin, end in self._pieces(start, stop, panels.tile, space.staging_bytes):
            first, last = x.indptr[begin], x.indptr[end]
            offsets = np.ascontiguousarray(x.indptr[begin : end + 1] - first)
            parts = [offsets, x.indices[first:last], x.data[first:last]]
            sizes = [-(-part.nbytes // 16) * 16 for part in parts]
            base = space.staging
            places = [base, base + sizes[0], base + sizes[0] + sizes[1]]
            for place, part in zip(places, parts, strict=True):
                panels.device.copy_in(place, part, panels.stream)
            panels.at(begin - start).scatter(places, offsets.dtype, end - begin)

    def name_bad(self) -> InputError:
        return name_bad_sample(self._x)

    def _pieces(self, start: int, stop: int, tile: int, staging: int) -> Iterator[tuple[int, int]]:
        """Whole panels of samples that fit the staging memory, one panel at least."""
        x = self._x
        # Where an entry of a sample would start, were all entries and offsets in one array.
        entry = x.indices.itemsize + 4
        offsets = x.indptr.astype(np.int64) * entry + np.arange(self.count + 1) * 8
        begin = start
        while begin < stop:
            limit = offsets[begin] + staging - 64
            end = int(np.searchsorted(offsets, limit, side="right")) - 1
            end = begin + max((end - begin) // tile, 1) * tile
            yield begin, min(end, stop)
            begin = end


class DeviceDense(SampleSource):
    """Rows on the device, read in place whatever their strides."""

    def __init__(self, view: DeviceView) -> None:
        self._view, self.stream = view, view.stream
        self.count, self.width = view.shape

    def load(self, panels: PanelWriter, start: int, stop: int) -> None:
        """Transpose them."""
        address = self._view.address + 4 * start * self._view.strides[0]
        panels.transpose(replace(self._view, address=address, shape=(stop - start, self.width)))

    def name_bad(self) -> InputError:
        return InputError("x holds a number that is not finite in float32")


class DeviceCsr(SampleSource):
    """CSR whose three arrays lie on the device, as CuPy's does."""

    def __init__(self, x: Any, device: Device, stream: int) -> None:
        if not getattr(x, "has_canonical_format", True):
            raise InputError("x has a column twice in a row; call x.sum_duplicates() first")
        names = "indptr", "indices", "data"
        self._views = [
            read_device_array(f"x.{each}", getattr(x, each), device, stream) for each in names
        ]
        offsets, columns, values = self._views
        kinds = {np.dtype(np.int32), np.dtype(np.int64)}
        if offsets.dtype not in kinds or columns.dtype != offsets.dtype:
            raise InputError(
                f"x is CSR with {offsets.dtype} offsets and {columns.dtype} columns, wanted both "
                "int32 or both int64"
            )
        if values.dtype != np.float32:
            raise InputError(f"x holds {values.dtype} on the device, wanted float32")
        self.count, self.width = x.shape
        self.stream = values.stream
        self._check_offsets(device)

    def _check_offsets(self, device: Device) -> None:
        """What the kernel trusts: where every row begins, and that there is as much as they say."""
        offsets, columns, values = self._views
        if any(view.strides != (1,) for view in self._views):
            raise InputError("x is CSR in arrays with gaps or more dimensions, wanted plain ones")
        if offsets.shape != (self.count + 1,):
            raise InputError(
                f"x.indptr has shape {offsets.shape}, wanted [{self.count + 1}]: samples and 1"
            )
        copied = device.read(offsets.address, offsets.shape, offsets.dtype, self.stream or 0)
        if copied[0] != 0 or (np.diff(copied) < 0).any():
            raise InputError("x.indptr must start at 0 and never fall")
        if not columns.shape == values.shape or values.shape[0] < copied[-1]:
            raise InputError(
                f"x has {columns.shape[0]} columns and {values.shape[0]} values, but its "
                f"offsets say {copied[-1]}"
            )

    def load(self, panels: PanelWriter, start: int, stop: int) -> None:
        """Clear the panels and scatter."""
        panels.clear(stop - start)
        places = [view.address for view in self._views]
        panels.scatter(places, self._views[0].dtype, stop - start, start)

    def name_bad(self) -> InputError:
        return InputError("x holds a number that is not finite, or a column outside its matrix")


def read_samples(x: Any, width: int, device: Device, stream: int) -> SampleSource:
    """Samples wherever they lie, checked as far as their shape.

    Arguments:
        stream: to work on, where the samples name none themselves.

    Raises:
        InputError: not a real matrix, of another width or type. DeviceError: on another device.
    """
    if hasattr(x, "indptr") and on_device(getattr(x, "data", None)):
        _check_shape(x.shape, width)
        return DeviceCsr(x, device, stream)
    if on_device(x):
        view = read_device_array("x", x, device, stream)
        _check_shape(view.shape, width)
        if view.dtype != np.float32:
            raise InputError(f"x holds {view.dtype} on the device, wanted float32")
        return DeviceDense(view)
    matrix = check_samples(x, width)
    return HostDense(matrix) if isinstance(matrix, np.ndarray) else HostCsr(matrix)


def _check_shape(shape: tuple[int, ...], width: int) -> None:
    if len(shape) != 2 or shape[1] != width:
        raise InputError(f"x has shape {tuple(shape)}, wanted [samples, {width}]")
