"""Products with a fixed pattern of non-zeros on a GPU: training a sparse layer.

The weights ``W`` of a layer are ``[rows, columns]``. A batch lies by feature, ``[feature][batch]``
with the samples side by side; float32 or bfloat16, sums in float32. Every sum is made in a fixed
order: results are the same bits in every run.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espalier.cuda import arguments
from espalier.cuda.device import Device

DType = Literal["f32", "bf16"]
_BYTES: dict[DType, int] = {"f32": 4, "bf16": 2}
_VECTOR_BYTES = 16
_WARP = 32
_WARPS, _ROWS_OF_WARP = 8, 4
_MOST_GRID_ROWS = 65_535


@dataclass(frozen=True)
class Batch:
    """Samples on the device, by feature.

    Attributes:
        address: of the first feature of the first sample.
        stride: numbers from one feature to the next.
        count: how many samples.
    """

    address: int
    stride: int
    count: int

    def is_aligned(self, step: int, size: int) -> bool:
        """Whether `step` samples of `size` bytes can be read as one everywhere."""
        whole = self.count % step == 0 and self.stride % step == 0
        return whole and self.address % (step * size) == 0


class DevicePattern:
    """Where the non-zeros of ``W`` stand, with the transpose beside it, on a device.

    Arguments:
        row_offsets: int64 ``[rows + 1]``, a pattern that was checked.
        column_indices: int32 ``[nonzeros]``.
        columns: width of ``W``.
    """

    def __init__(
        self,
        device: Device,
        row_offsets: NDArray[np.int64],
        column_indices: NDArray[np.int32],
        columns: int,
    ) -> None:
        self.device = device
        self.shape = len(row_offsets) - 1, columns
        self._host = row_offsets.copy(), column_indices.copy()
        rows = np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(row_offsets))
        order = np.argsort(column_indices, kind="stable").astype(np.int32)
        counts = np.bincount(column_indices, minlength=columns)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        arrays: list[NDArray[Any]] = [*self._host, offsets, rows[order], order]
        self._memory, self._at = device.upload(arrays, 0)
        device.synchronize(0)  # whichever stream comes first finds them

    @property
    def nonzeros(self) -> int:
        """Entries of the pattern."""
        return len(self._host[1])

    def describes(self, row_offsets: NDArray[Any], column_indices: NDArray[Any]) -> bool:
        """Whether these arrays are, number by number, the ones this pattern was made of."""
        offsets, columns = self._host
        return np.array_equal(offsets, row_offsets) and np.array_equal(columns, column_indices)

    def spmm(
        self, values: int, x: Batch, bias: int | None, y: Batch, dtype: DType, stream: int
    ) -> None:
        """``y = x @ W.T + bias``: the forward pass; all are addresses on the device.

        Arguments:
            values: ``[nonzeros]``.
            x: of `columns` features. y: of `rows` features.
            bias: ``[rows]``, or None.
        """
        offsets, columns = self._at[:2]
        argument = arguments.Spmm(values=values, offsets=offsets, columns=columns, bias=bias)
        self._multiply(argument, x, y, self.shape[0], dtype, stream)

    def spmm_transposed(self, values: int, dy: Batch, dx: Batch, dtype: DType, stream: int) -> None:
        """``dx = dy @ W``: the gradient by x."""
        offsets, rows, places = self._at[2:]
        argument = arguments.Spmm(values=values, offsets=offsets, columns=rows, places=places)
        self._multiply(argument, dy, dx, self.shape[1], dtype, stream)

    def sddmm(self, dy: Batch, x: Batch, gradient: int, dtype: DType, stream: int) -> None:
        """``gradient = dy.T @ x`` where the pattern has an entry: the gradient by the values."""
        offsets, columns = self._at[:2]
        step = self._vector_width(dtype, dy, x)
        argument = arguments.Sddmm(
            offsets=offsets,
            columns=columns,
            dy=dy.address,
            x=x.address,
            gradient=gradient,
            dy_stride=dy.stride,
            x_stride=x.stride,
            batch=dy.count,
            rows=self.shape[0],
        )
        grid = (self.shape[0] if self.nonzeros else 0), 1
        kernel = f"sddmm_{dtype}_{step}"
        self.device.launch(kernel, grid, _WARPS * _WARP, argument, stream)

    def _multiply(
        self,
        argument: ctypes.Structure,
        x: Batch,
        y: Batch,
        rows: int,
        dtype: DType,
        stream: int,
    ) -> None:
        step, size = self._vector_width(dtype, x, y), _BYTES[dtype]
        argument.x_stride, argument.y_stride, argument.rows = x.stride, y.stride, rows
        at_once = _MOST_GRID_ROWS * _WARP * step
        for first in range(0, x.count, at_once):
            argument.x, argument.y = x.address + first * size, y.address + first * size
            argument.batch = min(at_once, x.count - first)
            grid = -(-rows // (_WARPS * _ROWS_OF_WARP)), -(-argument.batch // (_WARP * step))
            kernel = f"spmm_{dtype}_{step}"
            self.device.launch(kernel, grid, _WARPS * _WARP, argument, stream)

    @staticmethod
    def _vector_width(dtype: DType, *batches: Batch) -> int:
        """Samples a lane takes at once: a whole vector where all batches lie well."""
        size = _BYTES[dtype]
        step = _VECTOR_BYTES // size
        return step if all(each.is_aligned(step, size) for each in batches) else 1
