"""Compile a network into a plan: reduced, proven, packed for the kernels of this machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, overload

from espalier.cuda import open_device, parse_device
from espalier.inference.cost import (
    DYING_GROUP_BYTES,
    GROUP_BYTES,
    TILES,
    CostModel,
    panels_in,
)
from espalier.inference.execute import Execution
from espalier.inference.gpu import GpuPlan
from espalier.inference.options import (
    OUTPUTS,
    Filter,
    Output,
    check_choice,
    check_memory,
    check_network,
)
from espalier.inference.result import Result
from espalier.inference.row_blocks import choose_groups
from espalier.kernels import PackedLayer, RowBlocks, pack, pack_by_input, thread_count
from espalier.network import Layer, Network
from espalier.progress import Progress
from espalier.simplify.fold import Expansion
from espalier.simplify.invariants import Invariants, find_invariants
from espalier.simplify.simplifier import Savings, Simplifier

_LAYERS_TO_CHOOSE_TILE = 16


@dataclass(frozen=True)
class Options:
    """Which shortcuts a plan may take; results differ by rounding at most, whatever is chosen."""

    merge: bool = True
    fold: bool = True
    group: bool = True
    fixed_point: bool = True


@dataclass(frozen=True)
class PlannedLayer:
    """One reduced layer: its proof, its sizes, and its packed weights while they are held."""

    proof: Invariants
    inputs: int
    outputs: int
    connections: int
    packed: PackedLayer


class Plan:
    """A compiled network; make one with `compile`, run it as often as you like.

    Attributes:
        network: the network it came from.
        tile: samples side by side in a panel.
        resident: whether the packed weights stay in memory; else each run streams them.
        compile_seconds: how long compiling took.
    """

    def __init__(
        self,
        network: Network,
        options: Options = Options(),
        memory: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        start = perf_counter()
        self.network = network
        self.options = options
        self.memory = check_memory(memory)
        self.threads = threads
        thread_count(threads)
        self.cost = CostModel.load()
        self.tile = TILES[0]
        self.proofs: list[Invariants] = []
        self.widths: list[int] = []
        self.packed: list[PackedLayer] = []
        self.blocks = 0
        self.resident = True
        self._compile(progress)
        widest = max(self.widths)
        self.panels = panels_in(GROUP_BYTES, widest, self.tile)
        self.panels_while_dying = panels_in(DYING_GROUP_BYTES, widest, self.tile)
        self.compile_seconds = perf_counter() - start

    def run(
        self,
        x: Any,
        filter: Filter = "unique",
        *,
        output: Output = "dense",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run all samples through the network.

        Arguments:
            x: ``[samples, inputs]``, numpy or scipy sparse; float32 CSR is taken without a copy.
                Non-zeros are added in the order they are stored in.
            filter: ``"none"``; ``"zero"``: samples that died are dropped, or share one row where
                a bias could wake them; ``"unique"``: samples of equal state share one row, too.
            output: kind of ``result.activations``: numpy, or scipy CSR.
            threads: as in `compile`; None takes the plan's.
            progress: called as ``progress(done, total)`` now and then, and at the end.

        Returns:
            A `Result`: ``.activations`` ``[samples, outputs]``, ``.categories``, ``.seconds``.

        Raises:
            InputError: samples that do not fit, are not finite, or an unknown option.

        >>> import numpy as np
        >>> plan = compile(Network([Layer(np.eye(2), bias=-1.0)]))
        >>> plan.run([[3.0, 0.0], [0.5, 1.0]]).activations.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
        """
        check_choice("output", output, OUTPUTS)
        used = thread_count(self.threads if threads is None else threads)
        return Execution(self, x, filter, used, progress).run(sparse=output == "csr")

    def chunks(self) -> Iterator[list[PackedLayer]]:
        """Packed layers in order, as many at a time as the memory budget holds."""
        if self.resident:
            yield self.packed
            return
        chunk: list[PackedLayer] = []
        held = 0
        for planned in self._plan_layers(Simplifier(self.options.merge, self.options.fold)):
            if chunk and held + planned.packed.bytes > self.weight_budget:
                yield chunk
                chunk, held = [], 0
            chunk.append(planned.packed)
            held += planned.packed.bytes
        yield chunk

    @property
    def weight_budget(self) -> int:
        """Bytes of packed weights to hold at a time."""
        return self.memory // 2

    @property
    def saturated(self) -> float | None:
        """The value a sample at the fixed point is full of: the last layer's clip."""
        return self.proofs[-1].clip

    def describe(self) -> str:
        """What compiling found and chose, in a few lines."""
        first, savings = self.proofs, self.savings
        zero = sum(proof.zero_stays_zero for proof in first)
        fixed = sum(proof.saturated_stays_saturated for proof in first)
        where = "in memory" if self.resident else "streamed from the network at each run"
        return "\n".join(
            [
                f"{len(self.proofs)} layers, widths {min(self.widths)} to {max(self.widths)}, "
                f"weights {where}; compiled in {self.compile_seconds:.3g} s",
                f"connections {savings.connections_before:,} -> {savings.connections_after:,}: "
                f"{savings.merged:,} neurons and {savings.inputs_merged:,} inputs merged, "
                f"{savings.constant:,} constant, "
                f"{savings.unread:,} unread",
                f"tile {self.tile} samples, {self.panels} panels a thread, "
                f"{self.blocks:,} dense blocks of rows that share columns",
                f"proven: zero stays zero in {zero} layers, "
                f"saturated stays saturated in {fixed} layers",
            ]
        )

    def __repr__(self) -> str:
        return f"Plan({self.network!r}, tile={self.tile}, resident={self.resident})"

    def _compile(self, progress: Progress | None) -> None:
        decomposition = Simplifier(self.options.merge, self.options.fold)
        held = 0
        total = len(self.network)
        for done, planned in enumerate(self._plan_layers(decomposition, choose_tile=True), 1):
            if not self.proofs:
                self.input_width = planned.inputs
            self.proofs.append(planned.proof)
            self.widths.append(planned.outputs)
            self.blocks += planned.packed.blocks
            if self.resident:
                self.packed.append(planned.packed)
                held += planned.packed.bytes
                if held > self.weight_budget:
                    self.resident, self.packed = False, []
            if progress is not None:
                progress(min(done, total), total)  # reducing may add a layer of sums
        self.savings: Savings = decomposition.savings
        assert decomposition.expansion is not None
        self.expansion: Expansion = decomposition.expansion

    def _plan_layers(
        self, decomposition: Simplifier, choose_tile: bool = False
    ) -> Iterator[PlannedLayer]:
        reduced = decomposition.simplify(self.network)
        head = list(itertools.islice(reduced, _LAYERS_TO_CHOOSE_TILE))
        if choose_tile:
            self.tile = self._choose_tile(head)
            self.first = pack_by_input(head[0])
            self.first_seconds = self._groups(head[0], self.tile)[1]
        for layer in itertools.chain(head, reduced):
            groups, _ = self._groups(layer, self.tile)
            yield PlannedLayer(
                find_invariants(layer),
                layer.inputs,
                layer.outputs,
                layer.nonzeros,
                pack(layer, groups),
            )

    def _choose_tile(self, layers: list[Layer]) -> int:
        """The tile at which these layers cost least, by the model."""
        return min(TILES, key=lambda tile: sum(self._groups(layer, tile)[1] for layer in layers))

    def _groups(self, layer: Layer, tile: int) -> tuple[RowBlocks, float]:
        if self.options.group:
            return choose_groups(layer, self.cost, tile)
        return RowBlocks.none(), float(self.cost.rows_seconds(layer.nonzeros, layer.inputs, tile))


@overload
def compile(
    network: Network,
    *,
    device: Literal["cpu"] = "cpu",
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan: ...
@overload
def compile(
    network: Network,
    *,
    device: str,
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan | GpuPlan: ...
def compile(
    network: Network,
    *,
    device: str = "cpu",
    merge: bool = True,
    fold: bool = True,
    group: bool = True,
    fixed_point: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Plan | GpuPlan:
    """Compile a network into a plan for this machine.

    Arguments:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; a GPU gives a `GpuPlan`.
        merge: neurons with equal weights and bias, bit for bit, become one.
        fold: neurons that do not depend on the sample become numbers; unread ones disappear.
        group: rows that share their columns become dense blocks where that is faster.
        fixed_point: samples full of ``clip`` are finished where all later layers keep them so.
        threads: threads of the CPU to use; None for OpenMP's default.
        memory: budget in bytes for packed weights and activations, of the device that runs; None
            for half of the memory free now, of a GPU for nine tenths. A network over budget is
            streamed: its layers are made or copied anew in each run.
        progress: called as ``progress(done, total)`` layers.

    Raises:
        InputError: an option out of range. NetworkError: a layer that breaks its promises.
        DeviceError: no such GPU, or no driver for it. MissingExtraError: no CUDA bindings.

    >>> plan = compile(Network([Layer([[1.0, 2.0], [1.0, 2.0]], bias=-1.0)]))
    >>> plan.widths  # two equal neurons became one
    [1]
    """
    check_network(network)
    options, ordinal = Options(merge, fold, group, fixed_point), parse_device(device)
    if ordinal is not None:
        return GpuPlan(network, options, open_device(ordinal), memory, progress)
    return Plan(network, options, memory, threads, progress)


def infer(
    network: Network,
    x: Any,
    *,
    device: str = "cpu",
    filter: Filter = "unique",
    output: Output = "dense",
    threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Compile a network and run samples through it: `compile` and `Plan.run` in one call.

    >>> import numpy as np
    >>> infer(Network([Layer(np.eye(2), bias=-1.0)]), [[3.0, 0.0], [0.5, 1.0]]).categories.tolist()
    [0]
    """
    plan = compile(network, device=device, threads=threads, memory=memory)
    return plan.run(x, filter, output=output, progress=progress)
