"""What a run on a GPU did, counted on the device and read back once a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espalier.inference.counters import Account
from espalier.inference.options import Filter
from espalier.inference.result import Report

if TYPE_CHECKING:
    from espalier.inference.gpu.plan import GpuPlan


class GpuAccount:
    """Counters of one run; `espalier.inference.counters` says what they mean."""

    def __init__(self, plan: GpuPlan, samples: int, filter: Filter) -> None:
        self.plan, self.filter = plan, filter
        self.layers, self.threads = plan.depth, 1
        self.droppable = plan.ends.droppable & (filter != "none")
        self._account = Account(self.layers, samples)
        self._costs = np.concatenate([each.layer_costs for each in plan.outline])
        self._together = np.concatenate(
            [np.full(each.depth, each.depth > 1) for each in plan.outline]
        )

    def add_batch(
        self,
        fate: NDArray[np.int32],
        counts: NDArray[np.int32],
        processed: NDArray[np.int32],
        turns: list[int],
    ) -> None:
        """Count a batch.

        Arguments:
            fate: of each sample, as `compact.cu` codes it.
            counts: living slots after each turn, that is, each time samples left.
            processed: per layer, as resident segments counted.
            turns: per layer, how many turns were before it.
        """
        account = self._account
        by_turn = np.asarray(turns)
        entered = counts[by_turn].astype(np.int64)
        done = np.where(self._together, processed, entered)
        left = counts[np.minimum(by_turn + 1, len(counts) - 1)]
        account.processed += done
        account.operations += int(done @ self._costs)
        account.live_operations += int(np.minimum(done, left) @ self._costs)
        finished = (fate < 0) & (fate % 2 == 0)
        account.rows_saved["fixed point"] += int(finished.sum())
        turn_of = (-fate[finished].astype(np.int64) - 2) // 2
        behind = np.searchsorted(by_turn, turn_of, side="right")  # layers it took part in
        account.sample_layers_saved["fixed point"] += int((self.layers - behind).sum())

    def report(self, seconds: float, categories: int) -> Report:
        """The account so far."""
        report = self._account.report(self, seconds, categories)
        return replace(report, instruction_set=f"{self.plan.device.architecture}, on the GPU")
