"""PyTorch's number of threads, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Let PyTorch use so many threads within the block; None leaves them as they are.

    Returns:
        the number in force.

    >>> with torch_threads(1) as threads:
    ...     threads, torch.get_num_threads()
    (1, 1)
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
