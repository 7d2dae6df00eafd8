"""Text tables: rows of words in columns of equal width."""

from __future__ import annotations

from collections.abc import Sequence


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, each cell as wide as the widest of its column.

    >>> table_lines([("layer", "weights"), ("0", "12"), ("2", "")])
    ['layer  weights', '0      12', '2']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
