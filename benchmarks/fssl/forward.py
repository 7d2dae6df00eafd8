"""Seconds of forward passes, all networks interleaved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

if TYPE_CHECKING:
    from torch import Tensor, nn

TIMING = 0.02  # seconds of several passes, timed as one


def time_forward(
    models: Mapping[str, nn.Module], images: Tensor, *, threads: int, rounds: int, watch: Watch
) -> dict[str, Spread]:
    """Seconds of every network over one batch.

    Arguments:
        images: the batch.
    """
    import torch

    task = f"{len(models)} networks, batch {len(images)}, {threads} threads"
    with torch.inference_mode(), torch_threads(threads), watch(task, "timings") as progress:
        works = {name: (lambda model=model: model(images)) for name, model in models.items()}
        return time_interleaved(
            works, rounds=rounds, settle=0.0, at_least=TIMING, progress=progress
        )


def batch_of(images: Tensor, size: int) -> Tensor:
    """As many images as wanted, over and over where there are fewer."""
    times = -(-size // len(images))
    return images.repeat(times, 1, 1, 1)[:size].contiguous()
