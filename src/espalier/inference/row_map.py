"""Which row of activations holds each sample's state, while filters drop and share rows.

A filter never moves a sample; it redirects it. Samples of equal state share a row, samples that
are all zero for good point at `ZERO`, samples at the fixed point at `SATURATED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.inference.options import Filter
from espalier.kernels.rows import (
    ALL_CONSTANT,
    ALL_ZERO,
    classify_samples,
    first_equal_samples,
)

ZERO = -1
SATURATED = -2


@dataclass(frozen=True)
class Rows:
    """Rows of activations picked from a matrix: row ``r`` is ``matrix[index[r]]``."""

    matrix: NDArray[np.float32]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)


class RowMap:
    """The row of each sample of a batch; redirections are composed when they are read."""

    def __init__(self, of_sample: NDArray[np.int64]) -> None:
        self._of_sample = of_sample
        self._redirections: list[NDArray[np.int64]] = []

    @classmethod
    def one_each(cls, samples: int) -> RowMap:
        """A row for each sample."""
        return cls(np.arange(samples, dtype=np.int64))

    @property
    def of_sample(self) -> NDArray[np.int64]:
        """int64 ``[samples]``: a row, or `ZERO`, or `SATURATED`."""
        if self._redirections:
            combined = self._redirections.pop()
            while self._redirections:
                combined = combined[self._redirections.pop()]
            self._of_sample = combined[self._of_sample]
        return self._of_sample

    def redirect(self, new_row: NDArray[np.int64]) -> None:
        """Row ``r`` becomes ``new_row[r]``; samples without a row stay as they are.

        `ZERO` and `SATURATED` count from the end of an array, so two more entries keep them.
        """
        self._redirections.append(np.concatenate([new_row, [SATURATED, ZERO]]))

    def drop(self, rows: Rows) -> Rows:
        """Rows whose index is -1 died for good: forget them."""
        kept = rows.index >= 0
        if kept.all():
            return rows
        self.redirect(np.where(kept, np.cumsum(kept) - 1, ZERO))
        return Rows(rows.matrix, rows.index[kept])

    def share(
        self, rows: Rows, filter: Filter, saturated: float | None, threads: int
    ) -> tuple[Rows, dict[str, int]]:
        """Leave one of equal rows, and none at the fixed point.

        Arguments:
            filter: ``"zero"`` lets all-zero rows share, ``"unique"`` all equal rows.
            saturated: the value at which a row full of it stays so to the end, None if unproven.

        Returns:
            The rows left, and how many each reason saved.
        """
        count = len(rows)
        first = np.arange(count, dtype=np.int64)
        saved = {"zero": 0, "unique": 0, "fixed point": 0}
        if not count:
            return rows, saved
        kind = classify_samples(
            rows.matrix, rows.index, 0.0 if saturated is None else saturated, threads
        )
        if filter == "unique":
            first = first_equal_samples(rows.matrix, rows.index, threads)
        elif filter == "zero" and (kind == ALL_ZERO).any():
            first[kind == ALL_ZERO] = np.flatnonzero(kind == ALL_ZERO)[0]
        shared = first != np.arange(count)
        saved["zero"] = int((shared & (kind == ALL_ZERO)).sum())
        saved["unique"] = int((shared & (kind != ALL_ZERO)).sum())
        frozen = np.zeros(count, bool) if saturated is None else kind == ALL_CONSTANT
        saved["fixed point"] = int((frozen & ~shared).sum())
        kept = ~shared & ~frozen
        new_row = np.where(frozen, SATURATED, (np.cumsum(kept) - 1)[first])
        self.redirect(new_row)
        return Rows(rows.matrix, rows.index[kept]), saved
