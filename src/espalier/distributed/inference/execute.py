"""One run on all ranks: microbatches through all layers, one on its way while one computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espalier.distributed.inference.microbatch import Buffers, Microbatch, Run
from espalier.kernels.samples import Matrix
from espalier.progress import Progress


def run_microbatches(
    run: Run,
    samples: Matrix,
    first: int,
    last: int,
    buffers: Sequence[Buffers],
    progress: Progress | None,
) -> list[Microbatch]:
    """Carry samples `first` to `last` through all layers.

    Arguments:
        buffers: for each of the microbatches that are on their way together.

    Returns:
        The microbatches in order; some are missing where `run.bad` says that a sample is bad.
    """
    program, timeout = run.program, run.world.timeout
    size, tile, together = program.microbatch, program.tile, len(buffers)
    if together > 1 and last - first <= size:
        size = max(-(-(last - first) // (2 * tile)), 1) * tile
    starts = range(first, last, size)
    done: list[Microbatch] = []
    for group in range(0, len(starts), together):
        timeout.enter(f"sample {starts[group]}, layer 0")
        here = [
            Microbatch(run, np.arange(start, min(start + size, last)), pair)
            for start, pair in zip(starts[group : group + together], buffers, strict=False)
        ]
        bad = np.array([not all(each.begin(samples) for each in here)], np.uint8)
        run.world.any_bits(bad)
        if bad[0]:
            run.bad = True
            return done
        for microbatch in here:
            microbatch.send_first()
        for layer in range(1, len(program.steps)):
            timeout.enter(f"sample {starts[group]}, layer {layer}")
            for microbatch in here:
                microbatch.advance(layer)
            if all(microbatch.finished for microbatch in here):
                break
        done += here
        if progress is not None:
            progress(int(here[-1].samples[-1]) + 1 - first, last - first)
    return done
