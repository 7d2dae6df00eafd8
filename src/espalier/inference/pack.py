"""Layers packed for the kernels of this machine, as its cost model finds cheapest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from espalier.inference.cost import TILES, CostModel
from espalier.inference.program import Program, SegmentShape
from espalier.inference.row_blocks import choose_row_blocks, seconds_by_tile
from espalier.kernels import InputMajor, PackedLayer, pack, pack_by_input
from espalier.kernels.samples import Matrix
from espalier.network import Layer


@dataclass(frozen=True)
class CpuPacker:
    """How this machine takes the layers of a network.

    Attributes:
        group: whether rows that share columns become dense blocks where that is faster.
        tile: samples side by side in a panel.
        by_input: weights of the first layer sorted by input, for sparse samples.
        first_seconds: what the first layer costs a sample in a panel.
    """

    cost: CostModel
    group: bool
    tile: int
    by_input: InputMajor
    first_seconds: float

    @classmethod
    def choose(cls, head: list[Layer], group: bool) -> CpuPacker:
        """The packer whose tile is cheapest for the first layers of a network."""
        cost = CostModel.load()
        tile = TILES[int(np.argmin(seconds_by_tile(head, cost, group)))]
        first_seconds = choose_row_blocks(head[0], cost, tile, group)[1]
        return cls(cost, group, tile, pack_by_input(head[0]), first_seconds)

    def pack(self, layers: Iterable[Layer]) -> Iterator[tuple[SegmentShape, PackedLayer]]:
        """All layers in order, each a segment."""
        for index, layer in enumerate(layers):
            row_blocks, _ = choose_row_blocks(layer, self.cost, self.tile, self.group)
            packed = pack(layer, row_blocks)
            sizes = layer.inputs, layer.outputs, packed.bytes, packed.blocks
            yield SegmentShape(index, 1, *sizes, (packed.multiply_adds,)), packed

    def scatter_pays(self, x: Matrix, first: SegmentShape) -> bool:
        """Whether touching the non-zeros of sparse samples is cheaper than whole panels."""
        if isinstance(x, np.ndarray) or not x.shape[0]:
            return False
        nonzeros = x.nnz / x.shape[0]
        weights_met = first.multiply_adds[0] / max(first.inputs, 1)
        panels = self.cost.load_seconds(nonzeros, first.inputs) + self.first_seconds
        return self.cost.scatter_seconds(nonzeros, weights_met) < panels


CpuProgram: TypeAlias = "Program[CpuPacker, PackedLayer]"
