"""One run of a program: from samples to categories, batch by batch and segment by segment.

Each layer computes ``min(max(x @ weights.T + bias, 0), clip)``. A segment is some of them in a row,
which one call of the kernels carries all samples through, panel by panel. Between segments, at
checkpoints, the filters drop dead rows, share equal ones and set finished ones aside. Checkpoints
lie 8, 16, 32 ... layers deep, and further apart where they find little, so they cost little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from espalier.inference.cost import DYING_PANEL_BYTES, PANEL_BYTES, panels_in
from espalier.inference.counters import Counters
from espalier.inference.options import FILTERS, Filter, check_choice
from espalier.inference.pack import CpuProgram
from espalier.inference.result import Batch, Outputs, Result
from espalier.inference.row_map import RowMap, Rows
from espalier.kernels import PackedLayer, instruction_set
from espalier.kernels.samples import (
    Matrix,
    Samples,
    check_samples,
    density,
    name_bad_sample,
    native_samples,
)
from espalier.kernels.segment import BadSampleError, run_segment
from espalier.progress import Progress

_FIRST_CHECKPOINT = 8
_LEAST_BATCH = 1024
_WEIGHTS_FETCHED = 0.5  # panels' worth of time to fetch a layer's weights once more


@dataclass(frozen=True)
class Run:
    """What all batches of a run share."""

    program: CpuProgram
    x: Matrix
    filter: Filter
    threads: int
    progress: Progress | None
    counters: Counters

    @property
    def drops(self) -> bool:
        """Whether dead samples may be dropped."""
        return self.filter != "none"

    @property
    def filters(self) -> bool:
        """Whether the filters run between segments."""
        return self.drops or bool(self.program.exits.saturated[:-1].any())


def execute(
    program: CpuProgram,
    x: object,
    filter: Filter,
    threads: int,
    progress: Progress | None = None,
    *,
    sparse: bool = False,
) -> Result:
    """Check the samples, carry them through the network, find their categories."""
    check_choice("filter", filter, FILTERS)
    start = perf_counter()
    samples = check_samples(x, program.inputs)
    counters = Counters(program.depth, samples.shape[0])
    run = Run(program, samples, filter, threads, progress, counters)
    batches = [run_batch(run, first, last) for first, last in batches_of(run)]
    if progress is not None:
        total = samples.shape[0] * program.depth
        progress(total, total)
    outputs = Outputs(batches, program.expansion, program.exits.clip)
    categories = outputs.categories()
    report = counters.report(
        program,
        filter,
        seconds=perf_counter() - start,
        categories=len(categories),
        threads=threads,
        instruction_set=instruction_set(),
    )
    return Result(categories, outputs, report, sparse)


def run_batch(run: Run, first: int, last: int) -> Batch:
    """Carry some samples through all layers; those that are done leave between segments."""
    program, row_map = run.program, RowMap.one_each(last - first)
    picked = None if last - first == run.x.shape[0] else np.arange(first, last, dtype=np.int64)
    samples = native_samples(run.x, picked)
    weights = iter(program.weights())
    begin, checkpoint = 0, _FIRST_CHECKPOINT if run.filters else program.depth
    while begin < program.depth:
        end = segment_end(program, begin, checkpoint)
        report = segment_progress(run, begin, end, first, last)
        rows, alive = multiply(run, samples, begin, list(islice(weights, end - begin)), report)
        rows = row_map.drop(rows)
        if end < program.depth and run.filters:
            saturated = program.exits.clip if program.exits.saturated[end - 1] else None
            found = len(rows.matrix)
            rows, saved = row_map.share(rows, run.filter, saturated, run.threads)
            run.counters.add_savings(end, saved)
            checkpoint = end * (2 if len(rows) < 0.9 * found else 4)
        if not len(rows):
            break
        samples = native_samples(rows.matrix, rows.index)
        begin = end
    return gather_outputs(row_map, rows, alive, program.widths[-1])


def multiply(
    run: Run, samples: Samples, begin: int, layers: list[PackedLayer], report: Progress | None
) -> tuple[Rows, NDArray[np.bool_]]:
    """Some layers, one after the other: the rows behind them, and which of those are not all 0."""
    program, end = run.program, begin + len(layers)
    droppable = program.exits.zero[begin:end] & run.drops
    scatters = begin == 0 and program.packer.scatter_pays(run.x, program.segments[0])
    try:
        segment = run_segment(
            layers,
            samples,
            first=program.packer.by_input if scatters else None,
            droppable=droppable,
            tile=program.packer.tile,
            panels=panels_of(run, samples.count, begin == 0 and bool(droppable[0])),
            threads=run.threads,
            progress=report,
        )
    except BadSampleError:
        raise name_bad_sample(run.x) from None
    costs = program.multiply_adds[begin:end].astype(np.float64)
    if scatters:
        run.counters.scattered = True
        costs[0] *= density(run.x)
    run.counters.add_segment(begin, segment, costs)
    return Rows(segment.rows, segment.row_of), segment.alive[segment.row_of >= 0]


def gather_outputs(row_map: RowMap, rows: Rows, alive: NDArray[np.bool_], width: int) -> Batch:
    """Keep only the rows that hold something: a batch of dead samples costs no memory."""
    if not len(rows):  # it may have ended early, with rows as wide as an earlier layer
        empty = np.empty((0, width), np.float32)
        return Batch(row_map, Rows(empty, rows.index), np.empty(0, bool))
    if not alive.all():
        rows = row_map.drop(Rows(rows.matrix, np.where(alive, rows.index, -1)))
        alive = alive[alive]
    if len(rows) < len(rows.matrix) // 2:
        rows = Rows(rows.matrix[rows.index], np.arange(len(rows), dtype=np.int64))
    return Batch(row_map, rows, alive)


def batches_of(run: Run) -> Iterator[tuple[int, int]]:
    """First and last sample of each batch, whose rows before and behind a segment fit in memory."""
    widths, count = run.program.widths, run.x.shape[0]
    widest = max(widths) if run.filters else widths[-1]
    size = max(_LEAST_BATCH, run.program.weight_budget // (8 * max(widest, 1)))
    return ((first, min(first + size, count)) for first in range(0, count, size))


def segment_end(program: CpuProgram, begin: int, checkpoint: int) -> int:
    """The layer behind a segment: at the checkpoint, or where memory holds no more weights."""
    end = min(max(checkpoint, begin + 1), program.depth)
    if program.packed is not None:
        return end
    sizes = np.cumsum([segment.bytes for segment in program.segments[begin:end]])
    return begin + max(1, int(np.searchsorted(sizes, program.weight_budget, side="right")))


def panels_of(run: Run, samples: int, dying: bool) -> int:
    """Panels that a thread carries through a layer: what suits memory, and ends all together."""
    tile = run.program.packer.tile
    size = DYING_PANEL_BYTES if dying else PANEL_BYTES
    most, needed = panels_in(size, max(run.program.widths), tile), -(-samples // tile)

    def longest_share(panels: int) -> float:
        shares = -(-needed // panels)
        return -(-shares // run.threads) * (panels + _WEIGHTS_FETCHED)

    return min(range(1, most + 1), key=longest_share)


def segment_progress(run: Run, begin: int, end: int, first: int, last: int) -> Progress | None:
    """Tell how far the run is, from how far a segment of a batch is."""
    if run.progress is None:
        return None
    progress, depth = run.progress, run.program.depth
    total = run.x.shape[0] * depth

    def report(done: int, count: int) -> None:
        layers = begin + (end - begin) * done / max(count, 1)
        progress(int(first * depth + (last - first) * layers), total)

    return report
