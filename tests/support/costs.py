"""Cost models that force a choice, so that tests reach every kernel on every machine."""

from __future__ import annotations

from espalier.inference.cost import BLOCK_HEIGHTS, TILES, WIDTHS, CostModel

CHEAP, DEAR = 1e-12, 1e-6
FORCED = ("rows", "blocks", "scatter")


def forced_cost(cheap: str, tile: int = 32) -> CostModel:
    """A model in which one kernel is nearly free, and one tile the best."""

    def table(kernel: str) -> list[list[float]]:
        seconds = CHEAP if cheap == kernel else DEAR
        return [[seconds * (1.0 if tile == each else 2.0)] * len(WIDTHS) for each in TILES]

    return CostModel(
        rows=table("rows"),
        blocks=[table("blocks") for _ in BLOCK_HEIGHTS],
        scatter=CHEAP if cheap == "scatter" else DEAR,
    )
