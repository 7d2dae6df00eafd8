"""One layer, one pass: PyTorch's dense kernel against zero-skip, checked, then timed interleaved.

Every section measures with this one function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.harness.machine import Machine, measure_machine
from benchmarks.harness.section import Record
from benchmarks.sparsetrain.operands import Array, Operands
from benchmarks.sparsetrain.passes import Work, as_array, dense_pass, zeroskip_pass
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import LayerShape, Pass, Variant
from espalier.errors import EspalierError
from espalier.kernels import zeroskip
from espalier.progress import Progress
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

DENSE, MASK = "dense", "mask"

# Rounding in float32 of sums over all pixels, as a part of the largest result.
TOLERANCE = 1e-3
# oneDNN reaches about this part of the ceiling.
DENSE_SHARE = 0.7


class Candidate(NamedTuple):
    """A zero-skip candidate: how it skips, and in what."""

    variant: Variant
    operands: Operands


@dataclass(frozen=True)
class PassTimes:
    """The times of one pass.

    Arguments:
        dense: PyTorch's kernel, which does not care about zeros.
        mask: making a mask and counting it, what a layer does now and then to decide.
        skips: zero-skip by candidate, with the masks a step makes in that pass.
    """

    dense: Spread
    mask: Spread
    skips: dict[str, Spread]

    def speedup(self, candidate: str) -> Spread:
        """Dense time over zero-skip time, round by round."""
        return self.dense.over(self.skips[candidate])

    def chosen_seconds(self, candidate: str) -> float:
        """What a layer takes that runs the faster kernel, and looks at the zeros now and then."""
        from espalier.nn.zeroskip.autotune import SAMPLE_EVERY

        masking = self.mask.median / SAMPLE_EVERY
        return masking + min(self.skips[candidate].median, self.dense.median)

    def to_record(self, candidate: str) -> Record:
        """One candidate as JSON values."""
        return {
            "seconds": self.skips[candidate].to_dict(),
            "speedup": self.speedup(candidate).to_dict(),
            "chosen_speedup": self.dense.median / self.chosen_seconds(candidate),
        }


def time_pass(
    shape: LayerShape,
    name: Pass,
    dense: Operands,
    candidates: Mapping[str, Candidate],
    settings: Settings,
    progress: Progress | None = None,
) -> PassTimes:
    """Check every candidate against PyTorch, then time all, interleaved.

    Arguments:
        dense: what PyTorch computes with.

    Raises:
        EspalierError: an candidate computes something else.
    """
    import torch

    with torch.inference_mode():
        work: dict[str, Work] = {DENSE: dense_pass(shape, name, dense)}
        for label, (variant, operands) in candidates.items():
            work[label] = zeroskip_pass(shape, name, variant, operands, settings.threads)
            wanted = as_array(shape, name, dense_pass(shape, name, operands)())
            if variant == "needed":
                wanted = np.where(operands.x != 0, wanted, np.float32(0))
            _check(f"{shape.label}, {name}, {label}", work[label](), wanted)
        masked = dense.dy if name == "BWI" else dense.x
        work[MASK] = lambda: zeroskip.count_nonzero(
            zeroskip.nonzero_mask(masked, threads=settings.threads)
        )
        spreads = time_interleaved(work, rounds=settings.rounds, settle=0.0, progress=progress)
    return PassTimes(spreads.pop(DENSE), spreads.pop(MASK), spreads)


@cache
def ceilings(threads: int) -> Machine:
    """This machine, measured once."""
    return measure_machine(threads)


def images_per_call(shape: LayerShape, settings: Settings) -> int:
    """A batch as in training, or as many images as the dense kernel's time allows."""
    rate = DENSE_SHARE * ceilings(settings.threads).multiply_adds
    fitting = int(settings.dense_seconds * rate / shape.multiply_adds)
    return max(1, min(fitting, settings.most_images))


def _check(label: str, found: Array, wanted: Array) -> None:
    """Raise unless both agree up to rounding."""
    error = float(np.abs(found - wanted).max(initial=0.0))
    limit = TOLERANCE * float(np.abs(wanted).max(initial=1e-3))
    if not error <= limit:
        raise EspalierError(
            f"{label}: zero-skip differs by {error:.3g} from PyTorch, wanted at most {limit:.3g}; "
            "it is not timed"
        )
