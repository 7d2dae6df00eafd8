"""The pattern of a sparse layer: its two tensors, and the native pattern made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from espalier.cuda import Device
from espalier.cuda.pattern import DevicePattern
from espalier.errors import InputError
from espalier.kernels import Pattern
from espalier.nn.custom_ops import HasHandle
from espalier.nn.torch_tools import UNKNOWN, version_of


class PatternCache(HasHandle):
    """The native pattern of a layer, made anew whenever the layer's tensors have changed.

    Tensors are compared by identity and by torch's version counter, and where those differ by
    content: a buffer that was moved, loaded or broadcast into is noticed, whatever code did it.
    """

    __slots__ = ("_known", "_pattern", "_versions")

    def __init__(self) -> None:
        super().__init__()
        self._pattern: Pattern | DevicePattern | None = None
        self._known: tuple[Tensor | None, Tensor | None] = None, None
        self._versions: tuple[int, int] | None = None

    def get(self, row_offsets: Tensor, column_indices: Tensor, columns: int) -> Pattern:
        """The pattern of these tensors on the CPU.

        Raises:
            InputError: they are no pattern.
        """
        pattern = self._find(row_offsets, column_indices, columns, None)
        assert isinstance(pattern, Pattern)
        return pattern

    def get_on(
        self, device: Device, row_offsets: Tensor, column_indices: Tensor, columns: int
    ) -> DevicePattern:
        """The pattern of these tensors on a GPU; the first time they come to the host and back.

        Raises:
            InputError: they are no pattern. DeviceMemoryError: the GPU's memory is used up.
        """
        pattern = self._find(row_offsets, column_indices, columns, device)
        assert isinstance(pattern, DevicePattern)
        return pattern

    def _find(
        self, row_offsets: Tensor, column_indices: Tensor, columns: int, device: Device | None
    ) -> Pattern | DevicePattern:
        versions = version_of(row_offsets), version_of(column_indices)
        pattern, known = self._pattern, self._known
        if pattern is not None and (
            getattr(pattern, "device", None) is not device or pattern.shape[1] != columns
        ):
            pattern = None
        if (
            pattern is not None
            and known[0] is row_offsets
            and known[1] is column_indices
            and self._versions == versions
            and UNKNOWN not in versions
        ):
            return pattern
        offsets, indices = (each.detach().cpu().numpy() for each in (row_offsets, column_indices))
        if pattern is None or not pattern.describes(offsets, indices):
            pattern = Pattern(offsets, indices, columns)  # which checks it, for both
            if device is not None:
                pattern = DevicePattern(device, offsets, indices, columns)
        self._pattern, self._versions = pattern, versions
        self._known = row_offsets, column_indices
        return pattern

    def __reduce__(self) -> tuple[Any, ...]:
        return PatternCache, ()


def pattern_tensors(pattern: Any, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
    """Row offsets (int64) and column indices (int32) of a pattern, checked.

    Arguments:
        pattern: a scipy sparse matrix or a dense mask ``[outputs, inputs]``, whose entries (of a
            mask, those that are not 0) are the connections; or the pair of tensors itself.

    Raises:
        InputError: something else, another shape, or indices that are no pattern.
    """
    if isinstance(pattern, tuple) and len(pattern) == 2:
        offsets, columns = (_to_numpy(each) for each in pattern)
    else:
        matrix: Any = pattern if sp.issparse(pattern) else _mask(pattern)
        csr: Any = sp.csr_array(matrix)
        csr.sum_duplicates()
        if csr.shape != (outputs, inputs):
            raise InputError(f"pattern is {list(csr.shape)}, wanted [{outputs}, {inputs}]")
        offsets, columns = csr.indptr, csr.indices
    if np.shape(offsets) != (outputs + 1,):
        raise InputError(f"row_offsets is {list(np.shape(offsets))}, wanted [{outputs + 1}]")
    Pattern(offsets, columns, inputs)
    return (
        torch.from_numpy(np.array(offsets, np.int64)),
        torch.from_numpy(np.array(columns, np.int32)),
    )


def _mask(pattern: Any) -> Any:
    mask = _to_numpy(pattern)
    if mask.ndim != 2 or mask.dtype.kind not in "biuf":
        raise InputError(
            f"pattern is a {type(pattern).__name__} of {mask.dtype} {list(mask.shape)}, wanted a "
            "scipy sparse matrix, a mask of two dimensions, or (row_offsets, column_indices)"
        )
    return mask != 0


def _to_numpy(array: Any) -> Any:
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
