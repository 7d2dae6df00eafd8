"""What a run did and what each shortcut saved, counted while it runs."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from espalier.inference.result import Report, Shortcut
from espalier.kernels import instruction_set
from espalier.kernels.samples import Matrix
from espalier.kernels.segment import SegmentOutput
from espalier.kernels.spmm import PackedLayer


class Run(Protocol):
    """What a report asks of a run, on whatever device.

    Attributes:
        plan: the `Plan` or `GpuPlan`.
        layers: after reduction.
        droppable: bool ``[layers]``, where dead samples leave.
    """

    plan: Any
    filter: Any
    threads: int
    layers: int
    droppable: NDArray[np.bool_]


class Account:
    """Counters of one run.

    Attributes:
        processed: int64 ``[layers]``, samples multiplied.
        living: int64 ``[layers]``, samples not all zero afterwards, of those multiplied.
    """

    def __init__(self, layers: int, samples: int) -> None:
        self.samples = samples
        self.processed = np.zeros(layers, np.int64)
        self.living = np.zeros(layers, np.int64)
        self.operations = 0
        self.live_operations = 0
        self._arriving = samples  # samples of this batch not all zero so far
        self.scattered = False
        self.rows_saved = {"zero": 0, "unique": 0, "fixed point": 0}
        self.sample_layers_saved = {"zero": 0, "unique": 0, "fixed point": 0}

    def add_segment(
        self,
        begin: int,
        layers: list[PackedLayer],
        segment: SegmentOutput,
        scattered: Matrix | None,
    ) -> None:
        """Count a segment; a scattered first layer met the non-zeros of its samples only."""
        end = begin + len(layers)
        self.processed[begin:end] += segment.processed
        self.living[begin:end] += segment.living
        costs = np.array([layer.multiply_adds for layer in layers], np.float64)
        if scattered is not None and not isinstance(scattered, np.ndarray):
            self.scattered = True
            costs[0] *= scattered.nnz / (scattered.shape[0] * scattered.shape[1])
        self.operations += int(segment.processed @ costs)
        self.live_operations += int(self._live(begin, segment) @ costs)

    def _live(self, begin: int, segment: SegmentOutput) -> NDArray[np.int64]:
        """int64 ``[layers]``: samples multiplied that were not all zero."""
        if begin == 0:
            self._arriving = int(segment.processed[0])
        arriving = np.concatenate([[self._arriving], segment.living[:-1]])
        self._arriving = int(segment.living[-1])
        return np.asarray(np.minimum(arriving, segment.processed), np.int64)

    def add_savings(self, position: int, saved: dict[str, int]) -> None:
        """Count rows a filter took out at a checkpoint, and the layers they now skip."""
        for reason, rows in saved.items():
            self.rows_saved[reason] += rows
            self.sample_layers_saved[reason] += rows * (len(self.processed) - position)

    def report(self, run: Run, seconds: float, categories: int) -> Report:
        connections = run.plan.savings.connections_before
        return Report(
            samples=self.samples,
            layers=len(run.plan.network),
            connections=connections,
            nominal_operations=connections * self.samples,
            effective_operations=self.operations,
            live_operations=self.live_operations,
            seconds=seconds,
            compile_seconds=run.plan.compile_seconds,
            threads=run.threads,
            instruction_set=instruction_set(),
            strategy="plan",
            filter=run.filter,
            categories=categories,
            shortcuts=self._shortcuts(run),
        )

    def _shortcuts(self, run: Run) -> list[Shortcut]:
        plan, savings = run.plan, run.plan.savings
        sample_layers = self.samples * run.layers
        shared = self.sample_layers_saved
        dropped = sample_layers - int(self.processed.sum()) - sum(shared.values())
        kept = savings.connections_after / max(savings.connections_before, 1)

        def share(count: int) -> str:
            return f"{count / max(sample_layers, 1):.2%} of all sample-layers skipped"

        return [
            Shortcut(
                "merge",
                "weights and bias equal bit for bit",
                f"{savings.merged:,} neurons and {savings.inputs_merged:,} inputs; "
                f"{kept:.2%} of the connections left",
                savings.merged + savings.inputs_merged > 0,
            ),
            Shortcut(
                "fold",
                "no weight reaches the neuron, or no weight leaves it",
                f"{savings.constant:,} constant and {savings.unread:,} unread neurons",
                savings.constant + savings.unread > 0,
            ),
            Shortcut(
                "group",
                "rows with the same columns",
                f"{plan.blocks:,} dense blocks",
                plan.blocks > 0,
            ),
            Shortcut(
                "sparse input",
                "a zero adds nothing",
                "first layer met only the non-zeros of the samples",
                self.scattered,
            ),
            Shortcut(
                "zero filter",
                "relu(bias) = 0 in every later layer"
                if bool(run.droppable.any())
                else "one row stands for all dead samples",
                share(max(dropped, 0) + shared["zero"]),
                run.filter != "none" and dropped + shared["zero"] > 0,
            ),
            Shortcut(
                "unique filter",
                "rows equal bit for bit",
                f"{self.rows_saved['unique']:,} rows, {share(shared['unique'])}",
                run.filter == "unique" and self.rows_saved["unique"] > 0,
            ),
            Shortcut(
                "fixed point",
                "clip * sum(weights) + bias >= clip in every later layer, rounding included",
                f"{self.rows_saved['fixed point']:,} rows, {share(shared['fixed point'])}",
                self.rows_saved["fixed point"] > 0,
            ),
        ]
