"""A compiled network as data: simplified, proven, packed for a device, and free of any plan.

`build_program` is the same for every device; what differs is a `Packer`, which chooses by the
device's cost model how its kernels take the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from time import perf_counter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from espalier.inference.options import Options
from espalier.network import Layer, Network
from espalier.progress import Progress
from espalier.simplify.fold import Expansion
from espalier.simplify.invariants import EarlyExits, Invariants, find_invariants
from espalier.simplify.simplifier import Savings, Simplifier

LAYERS_TO_CHOOSE = 16  # from the first of a network: how its kernels take all of them


class SegmentShape(NamedTuple):
    """Some packed layers that run in one step, without their weights.

    Attributes:
        begin, depth: the first layer, and how many they are.
        bytes: of the packed weights.
        blocks: of rows that share columns.
        multiply_adds: of each layer for one sample, zeros inside dense blocks included.
    """

    begin: int
    depth: int
    inputs: int
    outputs: int
    bytes: int
    blocks: int
    multiply_adds: tuple[int, ...]

    @property
    def end(self) -> int:
        """The layer behind the last."""
        return self.begin + self.depth


PackedT = TypeVar("PackedT")
PackedT_co = TypeVar("PackedT_co", covariant=True)


class Packer(Protocol[PackedT_co]):
    """How a device takes layers."""

    @property
    def tile(self) -> int:
        """Samples side by side in a panel."""

    def pack(self, layers: Iterable[Layer]) -> Iterator[tuple[SegmentShape, PackedT_co]]:
        """All layers in order, packed for the device's kernels."""


PackerT = TypeVar("PackerT", bound=Packer[Any])


@dataclass(frozen=True)
class Program(Generic[PackerT, PackedT]):
    """What a run follows and a report reads.

    Attributes:
        network: what it computes; read again in each run where its packed weights are not kept.
        packer: how the device takes the layers.
        weight_budget: bytes of packed weights to keep at a time.
        inputs, widths: neurons before the first simplified layer, and behind each.
        invariants: of each simplified layer.
        exits: where samples may stop.
        savings: what simplifying saved.
        expansion: how the network's outputs come back from the last layer's.
        segments: shapes of the packed segments, in order.
        packed: their weights, or None where they are more than the budget.
        compile_seconds: how long building took.
    """

    network: Network
    options: Options
    packer: PackerT
    weight_budget: int
    inputs: int
    widths: tuple[int, ...]
    invariants: tuple[Invariants, ...]
    exits: EarlyExits
    savings: Savings
    expansion: Expansion
    segments: tuple[SegmentShape, ...]
    packed: tuple[PackedT, ...] | None
    compile_seconds: float

    @property
    def depth(self) -> int:
        """Layers after simplification."""
        return len(self.widths)

    @property
    def blocks(self) -> int:
        """Blocks of rows that share columns."""
        return sum(segment.blocks for segment in self.segments)

    @cached_property
    def multiply_adds(self) -> NDArray[np.int64]:
        """int64 ``[layers]``, of each layer for one sample."""
        return np.array([cost for each in self.segments for cost in each.multiply_adds], np.int64)

    def weights(self) -> Iterable[PackedT]:
        """The packed segments in order, made anew where they are more than the budget."""
        if self.packed is not None:
            return self.packed
        simplifier = Simplifier(self.options.merge, self.options.fold)
        return (packed for _, packed in self.packer.pack(simplifier.simplify(self.network)))

    def describe(self, where: str, kernels: str) -> str:
        """What compiling found and chose, in a few lines."""
        savings = self.savings
        zero = sum(layer.zero_stays_zero for layer in self.invariants)
        saturated = sum(layer.saturated_stays_saturated for layer in self.invariants)
        return "\n".join(
            [
                f"{self.depth} layers, widths {min(self.widths)} to {max(self.widths)}, {where}; "
                f"compiled in {self.compile_seconds:.3g} s",
                f"connections {savings.connections_before:,} -> {savings.connections_after:,}: "
                f"{savings.merged:,} neurons and {savings.inputs_merged:,} inputs merged, "
                f"{savings.constant:,} constant, {savings.unread:,} unread",
                kernels,
                f"proven: zero stays zero in {zero} layers, "
                f"saturated stays saturated in {saturated} layers",
            ]
        )


def build_program(
    network: Network,
    options: Options,
    choose_packer: Callable[[list[Layer]], PackerT],
    weight_budget: int,
    progress: Progress | None = None,
) -> Program[PackerT, Any]:
    """Simplify a network, find what holds for its layers, and pack them.

    Arguments:
        choose_packer: gives the packer, from the first simplified layers.
        progress: called as ``progress(done, total)`` layers.
    """
    start = perf_counter()
    simplifier = Simplifier(options.merge, options.fold)
    layers = simplifier.simplify(network)
    head = list(islice(layers, LAYERS_TO_CHOOSE))
    packer = choose_packer(head)
    inputs = head[0].inputs
    widths: list[int] = []
    invariants: list[Invariants] = []

    def recorded(layers: Iterable[Layer]) -> Iterator[Layer]:
        for layer in layers:
            widths.append(layer.outputs)
            invariants.append(find_invariants(layer))
            if progress is not None:  # simplifying may add a layer of sums
                progress(min(len(widths), len(network)), len(network))
            yield layer

    segments: list[SegmentShape] = []
    kept: list[Any] | None = []
    size = 0
    for segment, packed in packer.pack(recorded(chain(head, layers))):
        segments.append(segment)
        size += segment.bytes
        if size > weight_budget:
            kept = None
        elif kept is not None:
            kept.append(packed)
    assert simplifier.expansion is not None
    return Program(
        network=network,
        options=options,
        packer=packer,
        weight_budget=weight_budget,
        inputs=inputs,
        widths=tuple(widths),
        invariants=tuple(invariants),
        exits=EarlyExits.of(invariants, options.fixed_point),
        savings=simplifier.savings,
        expansion=simplifier.expansion,
        segments=tuple(segments),
        packed=None if kept is None else tuple(kept),
        compile_seconds=perf_counter() - start,
    )
