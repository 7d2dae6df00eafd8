"""Distributed inference (SpFF): every part computes its rows and sends what others read of them."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.exchange import Exchange
from espalier.distributed.comm.index_map import IndexMap, check_owners
from espalier.distributed.comm.transport import TransportName, open_transport
from espalier.distributed.comm.world import World
from espalier.distributed.inference.local_layer import local_layer
from espalier.distributed.inference.microbatch import (
    Buffers,
    LocalStep,
    Microbatch,
    Run,
    make_buffers,
)
from espalier.distributed.inference.result import Counters, DistributedResult
from espalier.inference.cost import TILES, CostModel
from espalier.inference.options import check_choice, check_network
from espalier.inference.row_blocks import choose_groups
from espalier.kernels import RowBlocks, pack, pack_by_input, thread_count
from espalier.kernels.samples import Matrix, check_samples
from espalier.network import Layer, Network
from espalier.progress import Progress
from espalier.simplify.invariants import find_invariants, holds_from

Filter = Literal["none", "zero"]
FILTERS: tuple[Filter, ...] = ("none", "zero")
_LAYERS_TO_CHOOSE_TILE = 16
MICROBATCH_BYTES = 4 << 20  # of the activations that a part holds of a microbatch before one layer
MICROBATCH_SAMPLES = (128, 4096)  # least and most


class DistributedPlan:
    """The rows of one part of a network, packed, with all that it exchanges.

    Every rank makes one, with the same arguments, and runs it over the same samples. Each reads
    the rows of its part alone.

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
        exchanges: what this part exchanges before each layer.
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
        self.network, self.world = network, world
        self.threads = thread_count(threads)
        self.merge, self.group, self.fixed_point = merge, group, fixed_point
        self.transport = open_transport(transport, world)
        self.exchanges: list[Exchange] = []
        self._buffers: dict[int, Buffers] = {}
        self._layers = self._cut(owners, progress)
        self._steps = self._pack()
        self._prove()
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
        matrix = check_samples(x, self.network.inputs)
        self.world.agree("the number of samples", str(matrix.shape[0]))
        bounds = np.linspace(0, matrix.shape[0], self.world.replicas + 1).astype(int)
        first, last = int(bounds[self.world.replica]), int(bounds[self.world.replica + 1])
        run = Run(
            steps=self._steps,
            by_input=None if isinstance(matrix, np.ndarray) else self._by_input,
            world=self.world,
            tile=self._tile,
            threads=self.threads,
            droppable=self._zero_holds[1:] & (filter != "none"),
            saturated=self._full_holds[1:] & self.fixed_point,
            clip=self._clip,
            unbounded=self._unbounded,
            counters=Counters.empty(len(self._steps)),
        )
        microbatches = self._run_microbatches(run, matrix, first, last, progress)
        return DistributedResult.collect(self, run, microbatches, matrix, start)

    def close(self) -> None:
        """Give back requests and shared memory; all ranks do so together."""
        self.transport.close()

    @property
    def rows(self) -> NDArray[np.int64]:
        """The outputs of the network that this part computes."""
        return self._last.neurons(self.world.part)

    @property
    def units(self) -> NDArray[np.int32]:
        """Which computed neuron each of `rows` is."""
        return self._last.place[self.rows]

    def _cut(self, owners: Sequence[NDArray[np.int32]], progress: Progress | None) -> list[Layer]:
        world, part = self.world, self.world.part
        layers, count = [], len(self.network)
        index_map = IndexMap.of(owners[0], world.parts)
        for index in range(count):
            world.timeout.enter(f"preparing layer {index}")
            rows = self.network.rows(index, np.flatnonzero(owners[index + 1] == part))
            if index == 0:  # every rank has all inputs
                index_map = IndexMap.of(np.full(rows.inputs, part, np.int32), world.parts)
            piece = local_layer(rows, index_map, part, merge=self.merge)
            gives = tuple(world.swap(piece.takes))
            self.exchanges.append(Exchange(part, int(index_map.counts[part]), gives, piece.takes))
            units = world.gather(piece.units, world.within) if self.merge else None
            index_map = IndexMap.of(owners[index + 1], world.parts, units)
            layers.append(piece.layer)
            if progress is not None:
                progress(index + 1, count)
        self._last = index_map
        return layers

    def _pack(self) -> list[LocalStep]:
        """Pack for the tile that is cheapest over all ranks."""
        if self.world.rank == 0:
            CostModel.load()  # measured once, and remembered for the others
        self.world.barrier()
        cost = CostModel.load()
        head = self._layers[:_LAYERS_TO_CHOOSE_TILE]
        seconds = [sum(self._groups(layer, cost, tile)[1] for layer in head) for tile in TILES]
        totals = np.sum(self.world.gather(np.array(seconds)), axis=0)
        self._tile = TILES[int(np.argmin(totals))]
        self._by_input = pack_by_input(self._layers[0])
        steps = []
        for index, (layer, exchange) in enumerate(zip(self._layers, self.exchanges, strict=True)):
            groups, _ = self._groups(layer, cost, self._tile)
            exchanges = index > 0 and self.world.parts > 1
            channel = self.transport.channel(exchange) if exchanges else None
            steps.append(LocalStep(pack(layer, groups), exchange.width, channel))
        widest = self.world.largest([max(step.width for step in steps[1:] or steps)])[0]
        least, most = MICROBATCH_SAMPLES
        samples = min(max(MICROBATCH_BYTES // (4 * max(widest, 1)), least), most)
        self._microbatch_samples = samples // self._tile * self._tile
        return steps

    def _groups(self, layer: Layer, cost: CostModel, tile: int) -> tuple[RowBlocks, float]:
        if self.group and layer.outputs:
            return choose_groups(layer, cost, tile)
        return RowBlocks.none(), float(cost.rows_seconds(layer.nonzeros, layer.inputs, tile))

    def _prove(self) -> None:
        """What holds for the rows of every part holds for the layer."""
        proofs = [find_invariants(layer) for layer in self._layers]
        self._clip = proofs[-1].clip
        self._unbounded = any(layer.clip is None for layer in self._layers)
        failed = np.array(
            [
                (
                    not proof.zero_stays_zero,
                    # A part without rows in a layer proves nothing and disproves nothing.
                    proof.clip != self._clip
                    or (layer.outputs > 0 and not proof.saturated_stays_saturated),
                )
                for proof, layer in zip(proofs, self._layers, strict=True)
            ],
            np.uint8,
        )
        self.world.any_bits(failed.reshape(-1))
        self._zero_holds = holds_from((failed[:, 0] == 0).tolist())
        self._full_holds = holds_from((failed[:, 1] == 0).tolist()) & (self._clip is not None)
        self._layers = []

    def _buffers_of(self, seat: int) -> Buffers:
        """The same arrays in every run, however many samples: requests are made for them once."""
        if seat not in self._buffers:
            self._buffers[seat] = make_buffers(self._steps, self._microbatch_samples, self._tile)
        return self._buffers[seat]

    def _run_microbatches(
        self, run: Run, matrix: Matrix, first: int, last: int, progress: Progress | None
    ) -> list[Microbatch]:
        """All microbatches, two at once where one can travel while the other computes."""
        size = self._microbatch_samples
        done: list[Microbatch] = []
        together = 2 if self.transport.overlaps and self.world.parts > 1 else 1
        if together > 1 and last - first <= size:
            size = max(-(-(last - first) // (2 * self._tile)), 1) * self._tile
        starts = list(range(first, last, size))
        for group in range(0, len(starts), together):
            microbatches: list[Microbatch] = []
            bad = np.zeros(1, np.uint8)
            self.world.timeout.enter(f"sample {starts[group]}, layer 0")
            for seat, start in enumerate(starts[group : group + together]):
                samples = np.arange(start, min(start + size, last))
                microbatch = Microbatch(run, samples, self._buffers_of(seat))
                bad |= not microbatch.begin(matrix)
                microbatches.append(microbatch)
            self.world.any_bits(bad)
            if bad[0]:
                run.bad = True
                return done
            for microbatch in microbatches:
                microbatch.set_out()
            for layer in range(1, len(self._steps)):
                self.world.timeout.enter(f"sample {starts[group]}, layer {layer}")
                for microbatch in microbatches:
                    microbatch.advance(layer)
                if all(microbatch.finished for microbatch in microbatches):
                    break
            done += microbatches
            if progress is not None:
                progress(int(microbatches[-1].samples[-1]) + 1 - first, last - first)
        return done
