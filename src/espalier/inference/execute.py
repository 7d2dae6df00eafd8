"""One run of a plan: segments of layers on the engine, filters between them."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.inference.counters import Account
from espalier.inference.deduplicate import Rows, Slots
from espalier.inference.options import FILTERS, Filter, check_choice
from espalier.inference.result import Batch, Outputs, Result
from espalier.kernels.samples import Matrix, Samples, check_samples, name_bad_sample, native_samples
from espalier.kernels.segment import BadSampleError, run_segment
from espalier.kernels.spmm import PackedLayer
from espalier.progress import Progress
from espalier.simplify.invariants import holds_from

if TYPE_CHECKING:
    from espalier.inference.plan import Plan

_FIRST_CHECKPOINT = 8
_GROUP_OVERHEAD = 0.5  # panels' worth of time to fetch a layer's weights once more


class Execution:
    """Carries the samples of one run through the plan, batch by batch.

    Between segments the filters look at the rows that are left: dead rows are gathered up, equal
    rows shared, finished rows set aside. Checkpoints lie 8, 16, 32 ... layers deep, and further
    apart where they find nothing, so looking stays cheap.
    """

    def __init__(
        self, plan: Plan, x: Any, filter: Filter, threads: int, progress: Progress | None
    ) -> None:
        check_choice("filter", filter, FILTERS)
        self.start = perf_counter()
        self.plan = plan
        self.x: Matrix = check_samples(x, plan.input_width)
        self.filter = filter
        self.threads = threads
        self.progress = progress
        self.layers = len(plan.proofs)
        self.account = Account(self.layers, self.x.shape[0])
        dead = holds_from([proof.zero_stays_zero for proof in plan.proofs])
        self.droppable = dead[1:] & (filter != "none")
        full = holds_from(
            [
                proof.saturated_stays_saturated and proof.clip == plan.saturated
                for proof in plan.proofs
            ]
        )
        self.saturated_from = full & plan.options.fixed_point
        self.filters = filter != "none" or bool(self.saturated_from[:-1].any())

    def run(self, sparse: bool) -> Result:
        count = self.x.shape[0]
        size = self._batch_size()
        batches = [
            self._run_batch(start, min(start + size, count)) for start in range(0, count, size)
        ]
        if self.progress is not None:
            self.progress(count * self.layers, count * self.layers)
        outputs = Outputs(batches, self.plan.expansion, self.plan.saturated)
        categories = outputs.categories()
        seconds = perf_counter() - self.start
        report = self.account.report(self, seconds, len(categories))
        return Result(categories, outputs, report, sparse)

    def _batch_size(self) -> int:
        """Samples whose rows, before and after a segment, fit half of the memory budget."""
        widest = max(self.plan.widths) if self.filters else self.plan.widths[-1]
        return max(1024, self.plan.memory // 2 // (8 * max(widest, 1)))

    def _run_batch(self, start: int, stop: int) -> Batch:
        slots = Slots.one_each(stop - start)
        whole = (start, stop) == (0, self.x.shape[0])
        picked = None if whole else np.arange(start, stop, dtype=np.int64)
        matrix: Matrix = self.x
        rows, alive = Rows(np.empty((0, 0), np.float32), np.empty(0, np.int64)), np.empty(0, bool)
        for begin, layers in self._segments():
            samples = native_samples(matrix, picked)
            rows, alive = self._run_segment(samples, begin, layers, (start, stop))
            rows = slots.drop(rows)
            end = begin + len(layers)
            if end < self.layers and self.filters:
                rows = self._filter(slots, rows, end)
                if not len(rows):
                    break
            matrix, picked = rows.matrix, rows.index
        return self._finish(slots, rows, alive)

    def _segments(self) -> Iterator[tuple[int, list[PackedLayer]]]:
        """Layers from one checkpoint to the next, and the number of the first of them."""
        begin = 0
        self.checkpoint = _FIRST_CHECKPOINT if self.filters else self.layers
        for chunk in self.plan.chunks():
            first = 0
            while first < len(chunk):
                last = min(len(chunk), first + max(1, self.checkpoint - begin))
                yield begin, chunk[first:last]
                begin += last - first
                first = last

    def _run_segment(
        self,
        samples: Samples,
        begin: int,
        layers: list[PackedLayer],
        batch: tuple[int, int],
    ) -> tuple[Rows, NDArray[np.bool_]]:
        end = begin + len(layers)
        scatter = begin == 0 and self._scatter_pays(layers[0])
        try:
            segment = run_segment(
                layers,
                samples,
                first=self.plan.first if scatter else None,
                droppable=self.droppable[begin:end],
                tile=self.plan.tile,
                panels=self._panels(samples.count, begin == 0 and bool(self.droppable[0])),
                threads=self.threads,
                progress=self._segment_progress(begin, len(layers), batch),
            )
        except BadSampleError:
            raise name_bad_sample(self.x) from None
        self.account.add_segment(begin, layers, segment, self.x if scatter else None)
        return Rows(segment.rows, segment.row_of), segment.alive[segment.row_of >= 0]

    def _panels(self, count: int, may_die: bool) -> int:
        """Panels of a group: as many as memory suits, and so that all threads end together."""
        most = self.plan.panels_while_dying if may_die else self.plan.panels
        needed = -(-count // self.plan.tile)

        def longest_share(panels: int) -> float:
            groups = -(-needed // panels)
            return -(-groups // self.threads) * (panels + _GROUP_OVERHEAD)

        return min(range(1, most + 1), key=longest_share)

    def _scatter_pays(self, layer: PackedLayer) -> bool:
        """Whether touching the non-zeros of sparse samples is cheaper than whole panels."""
        if isinstance(self.x, np.ndarray) or not self.x.shape[0]:
            return False
        plan, nonzeros = self.plan, self.x.nnz / self.x.shape[0]
        weights_met = layer.multiply_adds / max(layer.inputs, 1)
        panels = plan.cost.load_seconds(nonzeros, layer.inputs) + plan.first_seconds
        return plan.cost.scatter_seconds(nonzeros, weights_met) < panels

    def _filter(self, slots: Slots, rows: Rows, position: int) -> Rows:
        saturated = self.plan.saturated if self.saturated_from[position] else None
        rows, saved = slots.share(rows, self.filter, saturated, self.threads)
        self.account.add_savings(position, saved)
        found = len(rows) < 0.9 * len(rows.matrix)
        self.checkpoint = position * (2 if found else 4)
        return rows

    def _finish(self, slots: Slots, rows: Rows, alive: NDArray[np.bool_]) -> Batch:
        """Keep only the rows that hold something: a batch of dead samples costs no memory."""
        if not len(rows):  # it may have ended early, with rows as wide as an earlier layer
            empty = np.empty((0, self.plan.widths[-1]), np.float32)
            return Batch(slots, Rows(empty, rows.index), np.empty(0, bool))
        if not alive.all():
            rows = slots.drop(Rows(rows.matrix, np.where(alive, rows.index, -1)))
            alive = alive[alive]
        if len(rows) < len(rows.matrix) // 2:
            rows = Rows(rows.matrix[rows.index], np.arange(len(rows), dtype=np.int64))
        return Batch(slots, rows, alive)

    def _segment_progress(self, begin: int, layers: int, batch: tuple[int, int]) -> Any:
        if self.progress is None:
            return None
        progress, (start, stop) = self.progress, batch
        total = self.x.shape[0] * self.layers

        def report(done: int, count: int) -> None:
            part = layers * done / max(count, 1)
            progress(int(start * self.layers + (stop - start) * (begin + part)), total)

        return report
