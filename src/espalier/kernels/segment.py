"""Consecutive packed layers over samples, tile by tile: the native engine of inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.progress import Progress

_BAD_SAMPLE = 2


class BadSampleError(ValueError):
    """A sample or its output is not finite, or a sample has a column outside its matrix."""


@dataclass(frozen=True)
class SegmentOutput:
    """What came out of some consecutive layers.

    Attributes:
        rows: float32 ``[samples, outputs]``; only rows that `row_of` names are filled.
        row_of: int64 ``[samples]``, the row of each sample, -1 where it was dropped as zero.
        alive: bool ``[samples]``, whether any output is not 0.
        processed: int64 ``[layers]``, samples each layer multiplied.
        living: int64 ``[layers]``, how many of those were not all zero afterwards.
    """

    rows: NDArray[np.float32]
    row_of: NDArray[np.int64]
    alive: NDArray[np.bool_]
    processed: NDArray[np.int64]
    living: NDArray[np.int64]


def run_segment(
    layers: Sequence[_native.PackedLayer],
    samples: _native.Samples,
    *,
    first: _native.InputMajor | None = None,
    droppable: NDArray[np.bool_] | None = None,
    tile: int,
    panels: int = 1,
    threads: int = 0,
    progress: Progress | None = None,
) -> SegmentOutput:
    """Carry samples through layers, tile by tile, on all threads.

    Arguments:
        first: weights by input of the first layer, to touch only the non-zeros of CSR samples.
        droppable: bool ``[layers]``, where a sample that is all zero is so to the end.
        tile: samples side by side in a panel: 16, 32 or 64.
        panels: panels a thread carries through one layer before the next.

    Raises:
        BadSampleError: a value is not finite, or a column lies outside the matrix.
    """
    count, depth = samples.count, len(layers)
    rows = np.empty((count, layers[-1].outputs), np.float32)
    row_of, alive = np.empty(count, np.int64), np.zeros(count, np.uint8)
    processed, living = np.zeros(depth, np.int64), np.zeros(depth, np.int64)
    drop = np.zeros(depth, bool) if droppable is None else droppable
    status = _native.run_segment(
        layers=list(layers),
        first=first,
        samples=samples,
        droppable=drop.astype(np.uint8),
        tile=tile,
        panels=panels,
        threads=threads,
        rows=rows,
        row_of=row_of,
        alive=alive,
        processed=processed,
        living=living,
        progress=progress,
    )
    if status == _BAD_SAMPLE:
        raise BadSampleError
    return SegmentOutput(rows, row_of, alive.view(bool), processed, living)
