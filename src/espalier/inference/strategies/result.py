"""The result of a run that kept its samples sparse to the end."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.inference.result import Batch, Outputs, Report, Shortcut
from espalier.inference.row_map import ZERO, RowMap, Rows
from espalier.simplify.fold import Expansion


def collect_outcome(
    samples: int,
    left: NDArray[np.int64],
    final: Any,
    *,
    start: float,
    operations: float,
    layers: int,
    connections: int,
    compile_seconds: float,
    threads: int,
    instruction_set: str,
    strategy: str,
) -> tuple[NDArray[np.int64], Outputs, Report]:
    """Categories, outputs and report: what a `Result` holds.

    Arguments:
        left: the sample of each row of `final`, a CSR matrix; the others were dropped.
        start: of the run, by `perf_counter`.
    """
    alive = np.diff(final.indptr) > 0
    categories = left[alive]
    report = Report(
        samples=samples,
        layers=layers,
        connections=connections,
        nominal_operations=connections * samples,
        effective_operations=int(operations),
        live_operations=int(operations),
        seconds=perf_counter() - start,
        compile_seconds=compile_seconds,
        threads=threads,
        instruction_set=instruction_set,
        strategy=strategy,
        filter="zero" if strategy == "filter" else "none",
        categories=len(categories),
        shortcuts=[
            Shortcut(
                "zero filter",
                "relu(bias) = 0 in every later layer",
                f"{samples - len(left):,} samples dropped",
                len(left) < samples,
            )
        ],
    )
    of_sample = np.full(samples, ZERO, np.int64)
    of_sample[categories] = np.arange(len(categories))
    matrix = np.ascontiguousarray(final[alive].toarray())
    rows = Rows(matrix, np.arange(len(matrix), dtype=np.int64))
    batch = Batch(RowMap(of_sample), rows, np.ones(len(matrix), bool))
    return categories, Outputs([batch], Expansion.identity(final.shape[1]), None), report
