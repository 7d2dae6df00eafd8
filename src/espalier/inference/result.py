"""What a run returns: activations, categories, time, and a report that hides nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.inference.row_map import SATURATED, RowMap, Rows
from espalier.simplify.fold import Expansion


@dataclass(frozen=True)
class Shortcut:
    """One way work was avoided: what it is, why it is exact, what it saved."""

    name: str
    proof: str
    saved: str
    used: bool


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """What every report of a run holds, on whatever device or ranks.

    Attributes:
        nominal_operations: connections of the network times samples, the challenge's count.
        effective_operations: multiply-adds done, zeros inside dense blocks included.
        seconds: from the caller's samples to categories, without compiling.
    """

    samples: int
    layers: int
    connections: int
    nominal_operations: int
    effective_operations: int
    seconds: float
    compile_seconds: float
    threads: int
    instruction_set: str
    categories: int

    @property
    def rate(self) -> float:
        """Nominal connections times samples per second: the Graph Challenge's rate."""
        return self.nominal_operations / self.seconds if self.seconds else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and strings."""
        return {**asdict(self), "rate": self.rate}


@dataclass(frozen=True, kw_only=True)
class Report(RunTotals):
    """What one run did and saved.

    Attributes:
        live_operations: multiply-adds done for samples that were not all zero.
    """

    live_operations: int
    strategy: str
    filter: str
    shortcuts: list[Shortcut] = field(default_factory=list)

    def __str__(self) -> str:
        share = self.effective_operations / max(self.nominal_operations, 1)
        lines = [
            f"{self.samples:,} samples through {self.layers} layers, "
            f"{self.connections:,} connections: {self.seconds:.4g} s "
            f"({self.threads} threads, {self.instruction_set}, strategy {self.strategy}, "
            f"filter {self.filter}); compiled in {self.compile_seconds:.3g} s",
            f"nominal operations {self.nominal_operations:.4g}, rate {self.rate:.4g} per second",
            f"effective operations {self.effective_operations:.4g} ({share:.3%} of nominal)",
            f"categories {self.categories:,}",
        ]
        for shortcut in self.shortcuts:
            state = shortcut.saved if shortcut.used else "not used"
            lines.append(f"{shortcut.name}: {state} ({shortcut.proof})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Batch:
    """The outputs of some consecutive samples, as the engine left them."""

    row_map: RowMap
    rows: Rows
    alive: NDArray[np.bool_]  # per row: whether any unit is not 0


@dataclass(frozen=True)
class Outputs:
    """Final activations, each distinct row stored once and expanded on demand."""

    batches: list[Batch]
    expansion: Expansion
    saturated: float | None

    @property
    def shape(self) -> tuple[int, int]:
        return sum(len(batch.row_map.of_sample) for batch in self.batches), len(self.expansion.unit)

    def categories(self) -> NDArray[np.int64]:
        """Samples with any output that is not 0."""
        alive = np.concatenate([_alive(batch) for batch in self.batches] or [np.zeros(0, bool)])
        if self.expansion.constant.any():
            alive[:] = True
        return np.flatnonzero(alive)

    def dense(self) -> NDArray[np.float32]:
        result = np.zeros(self.shape, np.float32)
        start = 0
        for batch in self.batches:
            of_sample = batch.row_map.of_sample
            self._fill(result[start : start + len(of_sample)], batch)
            start += len(of_sample)
        return result

    def csr(self) -> sp.csr_array[np.float32, tuple[int, int]]:
        """The same as scipy CSR, made in steps that need little more memory than the result."""
        step = 1024
        parts = []
        for batch in self.batches:
            for start in range(0, len(batch.row_map.of_sample), step):
                some = RowMap(batch.row_map.of_sample[start : start + step])
                block = np.zeros((len(some.of_sample), self.shape[1]), np.float32)
                self._fill(block, Batch(some, batch.rows, batch.alive))
                parts.append(sp.csr_array(block))
        if not parts:
            return sp.csr_array(np.zeros(self.shape, np.float32))
        stacked: Any = sp.vstack(parts, format="csr")
        return stacked  # type: ignore[no-any-return]

    def _fill(self, result: NDArray[np.float32], batch: Batch) -> None:
        unit, constant = self.expansion.unit, self.expansion.constant
        computed = unit >= 0
        of_sample = batch.row_map.of_sample
        result[:, ~computed] = constant[~computed]
        lives = np.flatnonzero(of_sample >= 0)
        rows = batch.rows.matrix[batch.rows.index[of_sample[lives]]]
        if self.expansion.is_identity:
            result[lives] = rows
        else:
            columns = np.flatnonzero(computed)
            result[lives[:, None], columns] = rows[:, unit[columns]]
        if self.saturated is not None:
            frozen = np.flatnonzero(of_sample == SATURATED)
            result[frozen[:, None], np.flatnonzero(computed)] = self.saturated


def _alive(batch: Batch) -> NDArray[np.bool_]:
    of_sample = batch.row_map.of_sample
    alive = np.asarray(of_sample == SATURATED)
    lives = of_sample >= 0
    alive[lives] = batch.alive[of_sample[lives]]
    return alive


@dataclass
class Result:
    """The outcome of `Plan.run`.

    Attributes:
        categories: int64, 0-based numbers of the samples with any output that is not 0.
        seconds: time of the run, from the caller's samples to the categories.
        rate: nominal connections times samples per second.
    """

    categories: NDArray[np.int64]
    outputs: Outputs
    _report: Report
    sparse: bool = False

    @cached_property
    def activations(self) -> Any:
        """Final activations ``[samples, outputs]`` in the caller's order of samples.

        float32 numpy, or scipy CSR when the run was asked for ``output="csr"``. Made on first
        use; that time is not part of `seconds`.
        """
        return self.outputs.csr() if self.sparse else self.outputs.dense()

    @property
    def seconds(self) -> float:
        return self._report.seconds

    @property
    def rate(self) -> float:
        return self._report.rate

    @property
    def effective_operations(self) -> int:
        """Multiply-adds done."""
        return self._report.effective_operations

    def report(self) -> Report:
        """Time, operations and every shortcut with what it saved."""
        return self._report

    def __repr__(self) -> str:
        samples, outputs = self.outputs.shape
        return (
            f"Result({samples:,} samples x {outputs:,} outputs, "
            f"{len(self.categories):,} categories, {self.seconds:.4g} s)"
        )
