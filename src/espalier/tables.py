"""Text tables: rows of words in columns of equal width."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def table_lines(
    rows: Sequence[Sequence[str]], align: Callable[[str, int], str] = str.ljust
) -> list[str]:
    """The lines of a table, each cell as wide as the widest of its column.

    Arguments:
        align: `str.ljust` for words, `str.rjust` for numbers.

    >>> table_lines([("layer", "weights"), ("0", "12"), ("2", "")])
    ['layer  weights', '0      12', '2']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(align, row, widths)).rstrip() for row in rows]
