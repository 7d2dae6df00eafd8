"""What a distributed run returns: activations of this part, all categories, a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.inference.microbatch import Microbatch, Run
from espalier.inference.result import RunTotals
from espalier.kernels import instruction_set
from espalier.kernels.samples import Matrix, name_bad_sample


@dataclass(frozen=True, kw_only=True)
class DistributedReport(RunTotals):
    """What one run did over all ranks, whose operations are added up.

    Attributes:
        words: activations sent by all ranks; the input is on every rank and not sent.
        messages: how often a rank sent something to another.
        most_words: activations sent by the rank that sent most.
    """

    replicas: int
    parts: int
    transport: str
    words: int
    most_words: int
    messages: int


@dataclass
class DistributedResult:
    """The outcome of `DistributedPlan.run` on one rank.

    Attributes:
        categories: int64, 0-based numbers of the samples with any output that is not 0; of all
            samples, on every rank.
        samples: int64, the samples of this replica.
        rows: int64, the outputs of the network that this part computed.
        seconds: from the samples to the categories, of the slowest rank.
    """

    categories: NDArray[np.int64]
    samples: NDArray[np.int64]
    rows: NDArray[np.int64]
    _run: Run
    _microbatches: Sequence[Microbatch]
    _report: DistributedReport

    @classmethod
    def collect(
        cls,
        run: Run,
        microbatches: Sequence[Microbatch],
        samples: Matrix,
        start: float,
        compile_seconds: float,
        transport: str,
    ) -> DistributedResult:
        """Put together what the microbatches of this rank and the other replicas found.

        Arguments:
            start: of the run, by `perf_counter`.

        Raises:
            InputError: samples that are not finite, or outputs beyond what float32 holds, on
                whichever rank.
        """
        world = run.world
        world.timeout.enter("collecting the categories")
        if world.largest([int(run.bad)])[0]:
            raise name_bad_sample(samples)
        nothing = np.empty(0, np.int64)
        found = [each for m in microbatches for each in (m.alive, m.saturated)]
        everywhere = world.gather(np.sort(np.concatenate([*found, nothing])), world.across)
        categories = np.sort(np.concatenate(everywhere))
        seconds = float(np.max(world.gather(np.array([perf_counter() - start]))))
        own = np.concatenate([*(microbatch.samples for microbatch in microbatches), nothing])
        program, counters, steps = run.program, run.counters, run.program.steps
        costs = [step.packed.multiply_adds for step in steps]
        done = sum(int(count) * cost for count, cost in zip(counters.processed, costs, strict=True))
        mine = np.array([done, counters.words.sum(), counters.messages.sum()], np.int64)
        operations, words, messages = np.array(world.gather(mine)).T
        connections = program.network.connections
        report = DistributedReport(
            samples=samples.shape[0],
            layers=len(steps),
            connections=connections,
            replicas=world.replicas,
            parts=world.parts,
            transport=transport if world.parts > 1 else "none",
            nominal_operations=connections * samples.shape[0],
            effective_operations=int(operations.sum()),
            words=int(words.sum()),
            most_words=int(words.max()),
            messages=int(messages.sum()),
            seconds=seconds,
            compile_seconds=compile_seconds,
            threads=run.threads,
            instruction_set=instruction_set(),
            categories=len(categories),
        )
        return cls(categories, own, program.rows, run, microbatches, report)

    @cached_property
    def local_activations(self) -> NDArray[np.float32]:
        """What this part computed: float32 ``[samples of this replica, rows of this part]``."""
        program = self._run.program
        result = np.zeros((len(self.samples), len(self.rows)), np.float32)
        first = self.samples[0] if len(self.samples) else 0
        for microbatch in self._microbatches:
            if len(microbatch.outputs):
                result[microbatch.lanes - first] = microbatch.outputs[:, program.units]
            result[microbatch.saturated - first] = program.exits.clip or 0.0
        return result

    def gather(self) -> NDArray[np.float32] | None:
        """All activations ``[samples, outputs]`` on rank 0, None on the others, who all call it."""
        world, width = self._run.world, self._run.program.network.outputs
        world.timeout.enter("gathering the activations")
        pieces = world.collect(self.local_activations.reshape(-1))
        columns, rows = world.collect(self.rows), world.collect(self.samples)
        if pieces is None or columns is None or rows is None:
            return None
        whole = np.zeros((sum(map(len, rows[:: world.parts])), width), np.float32)
        for piece, inside, which in zip(pieces, columns, rows, strict=True):
            whole[which[:, None], inside] = piece.reshape(len(which), len(inside))
        return whole

    @property
    def seconds(self) -> float:
        return self._report.seconds

    def report(self) -> DistributedReport:
        """Time, operations and words of all ranks."""
        return self._report
