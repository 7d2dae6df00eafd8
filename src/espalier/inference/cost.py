"""The cost model: seconds per multiply-add of each kernel, measured once on this machine.

The plan asks it which kernel and which tile are cheapest. A measurement takes a fraction of a
second; it is kept in ``$XDG_CACHE_HOME/espalier`` for each processor and instruction set. The
choice never changes a result, only its time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from math import log2
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from espalier.kernels import RowBlocks, instruction_set, pack, pack_by_input
from espalier.kernels.samples import sparse_samples
from espalier.kernels.segment import run_segment
from espalier.kernels.spmm import time_layer
from espalier.network import Layer
from espalier.timing.cache import MachineCache
from espalier.timing.interleave import minimum_seconds

TILES = (16, 32, 64)
WIDTHS = (64, 256, 1024, 4096, 16384, 65536)
_LOG_WIDTHS = np.log2(WIDTHS)
BLOCK_HEIGHTS = (2, 4, 8)
Counts: TypeAlias = "int | NDArray[np.int64]"
FORMAT = 4
ROUNDS = 5
# Bytes of the panels a thread carries through a layer before the next one. Few stay in the L2
# cache; many let the living lanes of dying samples fill whole panels.
PANEL_BYTES = 2 << 20
DYING_PANEL_BYTES = 16 << 20
_MOST_PANELS = 8
_CONNECTIONS = 32
_MEASURED_ROWS = 1024


@dataclass(frozen=True)
class CostModel:
    """Seconds per multiply-add, by tile (rows) and input width (columns).

    Attributes:
        rows: rows with columns of their own, ``[tile][width]``.
        blocks: rows that share columns, ``[height][tile][width]``.
        panel_load: seconds to put one non-zero of a sparse sample into a panel, ``[width]``.
        scatter: seconds a non-zero takes by itself, and for each weight it meets, when samples
            are not put into panels.
    """

    rows: list[list[float]]
    blocks: list[list[list[float]]]
    panel_load: list[float]
    scatter: list[float]

    def rows_seconds(self, nonzeros: Counts, width: int, tile: int) -> NDArray[np.float64]:
        """Seconds per sample for weights in rows of their own."""
        return np.asarray(nonzeros) * _at_width(self.rows[TILES.index(tile)], width)

    def block_seconds(
        self, heights: Counts, columns: Counts, width: int, tile: int
    ) -> NDArray[np.float64]:
        """Seconds per sample for blocks of `heights` rows that share `columns` columns."""
        by_height = [_at_width(entry[TILES.index(tile)], width) for entry in self.blocks]
        full, rest = np.divmod(np.asarray(heights), BLOCK_HEIGHTS[-1])
        rest_seconds = rest * np.interp(rest, BLOCK_HEIGHTS, by_height)
        return np.asarray(columns) * (full * BLOCK_HEIGHTS[-1] * by_height[-1] + rest_seconds)

    def load_seconds(self, nonzeros: float, width: int) -> float:
        """Seconds to put a sparse sample into a panel."""
        return nonzeros * _at_width(self.panel_load, width)

    def scatter_seconds(self, nonzeros: float, weights_met: float) -> float:
        """Seconds to take a sparse sample through a layer non-zero by non-zero."""
        alone, each = self.scatter
        return nonzeros * (alone + each * weights_met)

    @classmethod
    def load(cls) -> CostModel:
        """The model of this machine: from the cache, else measured now and cached."""
        cache = MachineCache(f"cost-{FORMAT}")
        with contextlib.suppress(ValueError, TypeError):
            return cls(**cache.get(instruction_set())).checked()
        model = cls.measure()
        cache.put({instruction_set(): vars(model)})
        return model

    def checked(self) -> CostModel:
        """Itself, if every table has its shape; a damaged cache raises ValueError."""
        tables = (len(TILES), len(WIDTHS))
        shapes = {
            "rows": tables,
            "blocks": (len(BLOCK_HEIGHTS), *tables),
            "panel_load": (len(WIDTHS),),
            "scatter": (2,),
        }
        for name, shape in shapes.items():
            table = np.asarray(getattr(self, name), np.float64)
            if table.shape != shape or not (np.isfinite(table) & (table >= 0.0)).all():
                raise ValueError(f"{name} is no table of seconds {list(shape)}")
        return self

    @classmethod
    def measure(cls) -> CostModel:
        """Time both kernels over random layers on every tile and width."""
        rng = np.random.default_rng(0)

        def times(height: int, grouped: bool) -> list[list[float]]:
            layers = [_random_layer(width, height, rng) for width in WIDTHS]
            return [[_time(layer, height * grouped, tile) for layer in layers] for tile in TILES]

        return cls(
            rows=times(height=1, grouped=False),
            blocks=[times(height, grouped=True) for height in BLOCK_HEIGHTS],
            panel_load=[_time_sparse(_sums(width, 1), width, scatter=False) for width in WIDTHS],
            scatter=_measure_scatter(),
        )


def panels_in(size: int, width: int, tile: int) -> int:
    """How many panels of a network as wide as that take `size` bytes."""
    return int(np.clip(size // (max(width, 1) * tile * 4), 1, _MOST_PANELS))


def _at_width(seconds: list[float], width: int) -> float:
    return float(np.interp(log2(max(width, 1)), _LOG_WIDTHS, seconds))


def _random_layer(width: int, height: int, rng: np.random.Generator) -> Layer:
    """Random columns; runs of `height` rows share theirs."""
    rows = min(width, _MEASURED_ROWS)
    drawn = np.sort(rng.integers(width, size=(rows // height, min(_CONNECTIONS, width))), axis=1)
    fresh = np.diff(drawn, axis=1, prepend=-1) > 0
    runs = [np.tile(columns[kept], (height, 1)) for columns, kept in zip(drawn, fresh, strict=True)]
    columns = np.concatenate([run.ravel() for run in runs])
    sizes = np.repeat([run.shape[1] for run in runs], height)
    values = np.full(columns.size, 2.0**-10, np.float32)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Layer(sp.csr_array((values, columns, offsets), shape=(rows, width)), bias=0.0)


def _time(layer: Layer, height: int, tile: int) -> float:
    """Seconds per multiply-add with blocks of `height` rows, 0 for rows of their own."""
    rows = np.arange(layer.outputs, dtype=np.int32)
    blocks = RowBlocks(np.arange(0, len(rows) + 1, height), rows) if height else None
    packed = pack(layer, blocks)
    return time_layer(packed, tile, ROUNDS) / (packed.multiply_adds * tile)


def _measure_scatter() -> list[float]:
    """Seconds of a non-zero by itself and for each weight it meets, from two fan-outs."""
    width, few, many = 4096, 2, 8
    at_few = _time_sparse(_sums(width, few), width, scatter=True)
    at_many = _time_sparse(_sums(width, many), width, scatter=True)
    each = max(at_many - at_few, 0.0) / (many - few)
    return [max(at_few - few * each, 0.0), each]


def _sums(width: int, fan_out: int) -> Layer:
    """A layer in which every input feeds `fan_out` of its few outputs."""
    outputs = min(width, 256)
    inputs = np.tile(np.arange(width), fan_out)
    rows = (inputs + np.repeat(np.arange(fan_out), width)) % outputs
    ones = np.ones(inputs.size, np.float32)
    return Layer(sp.csr_array((ones, (rows, inputs)), shape=(outputs, width)), bias=0.0)


def _time_sparse(layer: Layer, width: int, scatter: bool) -> float:
    """Seconds per non-zero of samples of which a tenth is not zero."""
    tile = TILES[1]
    panels = panels_in(DYING_PANEL_BYTES, width, tile)
    count = 4 * panels * tile
    offsets = np.arange(count + 1, dtype=np.int32) * (width // 10)
    columns = np.tile(np.arange(0, width // 10 * 10, 10, dtype=np.int32), count)
    samples = sparse_samples(offsets, columns, np.ones(columns.size, np.float32), width)
    if scatter:
        first, packed = pack_by_input(layer), pack(layer)
    else:
        first, packed = None, pack(Layer(sp.csr_array((1, width), dtype=np.float32), bias=0.0))
    run = partial(run_segment, [packed], samples, first=first, tile=tile, panels=panels, threads=1)
    (seconds,), _ = minimum_seconds([run], rounds=(ROUNDS - 1, ROUNDS - 1))
    return seconds / columns.size
