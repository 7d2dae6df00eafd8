"""What a run did and what each shortcut saved, counted while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.inference.options import Filter
from espalier.inference.program import Program
from espalier.inference.result import Report, Shortcut
from espalier.kernels.segment import SegmentOutput


class Counters:
    """Counts of one run, on whatever device.

    Attributes:
        samples: of the caller.
        processed: int64 ``[layers]``, samples multiplied.
        operations: multiply-adds done, and `live_operations` those for samples not all zero.
        scattered: whether the first layer met only the non-zeros of its samples.
        rows_saved: by filter, the rows it took out.
        sample_layers_saved: by filter, how many layers they no longer passed, added up.
    """

    def __init__(self, layers: int, samples: int) -> None:
        self.samples = samples
        self.processed = np.zeros(layers, np.int64)
        self.operations = 0
        self.live_operations = 0
        self.scattered = False
        self.rows_saved = {"zero": 0, "unique": 0, "fixed point": 0}
        self.sample_layers_saved = {"zero": 0, "unique": 0, "fixed point": 0}
        self._arriving = samples  # samples of this batch not all zero so far

    def add_segment(self, begin: int, segment: SegmentOutput, costs: NDArray[np.float64]) -> None:
        """Count some layers; `costs` are the multiply-adds of each for one sample."""
        self.processed[begin : begin + len(costs)] += segment.processed
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

    def report(
        self,
        program: Program[Any, Any],
        filter: Filter,
        *,
        seconds: float,
        categories: int,
        threads: int,
        instruction_set: str,
    ) -> Report:
        """All that was counted, in words and numbers."""
        connections = program.savings.connections_before
        return Report(
            samples=self.samples,
            layers=len(program.network),
            connections=connections,
            nominal_operations=connections * self.samples,
            effective_operations=self.operations,
            live_operations=self.live_operations,
            seconds=seconds,
            compile_seconds=program.compile_seconds,
            threads=threads,
            instruction_set=instruction_set,
            strategy="plan",
            filter=filter,
            categories=categories,
            shortcuts=self._shortcuts(program, filter),
        )

    def _shortcuts(self, program: Program[Any, Any], filter: Filter) -> list[Shortcut]:
        savings, blocks = program.savings, program.blocks
        sample_layers = self.samples * program.depth
        shared = self.sample_layers_saved
        dropped = sample_layers - int(self.processed.sum()) - sum(shared.values())
        kept = savings.connections_after / max(savings.connections_before, 1)
        drops = filter != "none" and bool(program.exits.zero.any())

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
            Shortcut("group", "rows with the same columns", f"{blocks:,} dense blocks", blocks > 0),
            Shortcut(
                "sparse input",
                "a zero adds nothing",
                "first layer met only the non-zeros of the samples",
                self.scattered,
            ),
            Shortcut(
                "zero filter",
                "relu(bias) = 0 in every later layer"
                if drops
                else "one row stands for all dead samples",
                share(max(dropped, 0) + shared["zero"]),
                filter != "none" and dropped + shared["zero"] > 0,
            ),
            Shortcut(
                "unique filter",
                "rows equal bit for bit",
                f"{self.rows_saved['unique']:,} rows, {share(shared['unique'])}",
                filter == "unique" and self.rows_saved["unique"] > 0,
            ),
            Shortcut(
                "fixed point",
                "clip * sum(weights) + bias >= clip in every later layer, rounding included",
                f"{self.rows_saved['fixed point']:,} rows, {share(shared['fixed point'])}",
                self.rows_saved["fixed point"] > 0,
            ),
        ]
