"""Distributed inference (SpFF): every part computes its rows and sends what others read of them."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.index_map import check_owners
from espalier.distributed.comm.transport import TransportName, open_transport
from espalier.distributed.comm.world import World
from espalier.distributed.inference.microbatch import (
    Buffers,
    Counters,
    Run,
    make_buffers,
    run_microbatches,
)
from espalier.distributed.inference.program import build_together
from espalier.distributed.inference.result import DistributedResult
from espalier.inference.options import Options, check_choice, check_network
from espalier.kernels import thread_count
from espalier.kernels.samples import check_samples
from espalier.network import Network
from espalier.progress import Progress

Filter = Literal["none", "zero"]
FILTERS: tuple[Filter, ...] = ("none", "zero")


class DistributedPlan:
    """The rows of one part of a network, packed, with all that it exchanges.

    All ranks make one together, with the same arguments, and run it over the same samples. Each
    reads the rows of its part alone.

    Arguments:
        network: the whole network; a lazy one is never in memory whole.
        owners: the part of every input, then of every row of each layer, as in
            `espalier.partitioning.Partition`.
        world: the ranks; as many parts as the owners name.
        merge: rows of one part with equal weights and bias, bit for bit, become one: they are
            computed once and sent once.
        group: rows that share their columns become dense blocks where that is faster.
        fixed_point: samples full of ``clip`` are finished where all later layers keep them so.
        transport: ``"shared"`` memory, ``"messages"``, or ``"auto"``.
        threads: of this rank.
        progress: called as ``progress(done, total)`` layers.

    Attributes:
        program: what this part runs.
        compile_seconds: how long all this took.

    Raises:
        InputError: owners that do not fit, or ranks that were given different ones.
    """

    def __init__(
        self,
        network: Network,
        owners: Sequence[NDArray[np.int32]],
        world: World,
        *,
        merge: bool = True,
        group: bool = True,
        fixed_point: bool = True,
        transport: TransportName = "auto",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        start = perf_counter()
        check_network(network)
        check_owners(owners, network, world)
        self.network, self.world, self.threads = network, world, thread_count(threads)
        self.transport = open_transport(transport, world)
        options = Options(merge, group=group, fixed_point=fixed_point)
        self.program = build_together(network, owners, world, self.transport, options, progress)
        self._buffers: list[Buffers] = []
        self.compile_seconds = perf_counter() - start

    def run(
        self, x: Any, filter: Filter = "zero", *, progress: Progress | None = None
    ) -> DistributedResult:
        """Run samples through the network, together with all other ranks.

        Arguments:
            x: ``[samples, inputs]``, numpy or scipy sparse; the same on every rank, which takes
                what its replica and part read of it.
            filter: ``"none"``, or ``"zero"``: samples that died are dropped, and no longer sent.
            progress: called as ``progress(done, total)`` samples of this replica.

        Returns:
            This part's activations and the categories of all samples.

        Raises:
            InputError: samples that do not fit or are not finite, or an unknown option.
        """
        check_choice("filter", filter, FILTERS)
        start = perf_counter()
        program, world = self.program, self.world
        samples = check_samples(x, self.network.inputs)
        world.agree("the number of samples", str(samples.shape[0]))
        bounds = np.linspace(0, samples.shape[0], world.replicas + 1).astype(int)
        first, last = int(bounds[world.replica]), int(bounds[world.replica + 1])
        run = Run(
            program,
            world,
            self.threads,
            droppable=program.exits.zero & (filter != "none"),
            by_input=None if isinstance(samples, np.ndarray) else program.by_input,
            counters=Counters.empty(len(program.steps)),
        )
        done = run_microbatches(run, samples, first, last, self._make_buffers(), progress)
        return DistributedResult.collect(
            run, done, samples, start, self.compile_seconds, self.transport.name
        )

    def close(self) -> None:
        """Give back requests and shared memory; all ranks do so together."""
        self.transport.close()

    @property
    def exchanges(self) -> list[Exchange]:
        """What this part exchanges before each layer."""
        return self.program.exchanges

    @property
    def rows(self) -> NDArray[np.int64]:
        """The outputs of the network that this part computes."""
        return self.program.rows

    @property
    def units(self) -> NDArray[np.int32]:
        """Which computed neuron each of `rows` is."""
        return self.program.units

    def _make_buffers(self) -> list[Buffers]:
        """The same arrays in every run, however many samples: requests are made for them once.

        A transport that sends while this rank computes has two microbatches on their way.
        """
        if not self._buffers:
            together = 2 if self.transport.overlaps and self.world.parts > 1 else 1
            self._buffers = [make_buffers(self.program) for _ in range(together)]
        return self._buffers
