"""The ladder of zero-skipping: the three passes of a layer, at several fractions of zeros.

    python -m benchmarks.ladder.zeroskip [--channels 256] [--side 28] [--threads 1] [--smoke]

Every version is checked against float64 on a few images first and only then timed, interleaved with
the others, and printed against the machine's two ceilings as measured in the same run. Useful
multiply-adds alone are counted: those of zeros are what is saved. Steps:

    0  reference            float64, a matrix product for each tap: what all others must compute
    1  torch                oneDNN's dense convolution on channels-last tensors, the peer
    2  one tap at a time    64 channels by 128 filters of weights lie in L1; each non-zero of a
                            pixel meets its row of them, the sums of two pixels in registers
    3  nine taps            3 x 3: 32 channels by 32 filters; the sums of nine pixels slide along an
                            image row, so a non-zero is found once and sums travel least
    4  needed               backward by input, dense gradient: dot products for wanted entries only
    5  three taps, weights  backward by weight: a non-zero of one channel meets three shifted rows
                            of the other operand; masks are transposed, not the activations
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness.ladder import parse_arguments, print_machine
from benchmarks.harness.machine import Machine, measure_machine
from espalier.kernels import nonzero_mask, reference
from espalier.kernels import zeroskip as skip
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

ZEROS = (0.0, 0.5, 0.8, 0.9)
CHECKED = 1e-4

LOST = """\
Designs that lost:
  lists of (value, offset) in place of masks, made once for all taps and panels: 91 GMAC/s
    against 118 with no zeros, 620 against 785 at 90 %: two more loads for each non-zero
  pixels sorted by their number of non-zeros, so that loops end predictably: up to 10 % slower;
    multiply-adds already queued hide most mispredictions, and sums lose their order in memory
  24 vectors of sums for one pixel, 20 channels at a time: 47 GMAC/s against 118, registers spill
  channels in blocks of 64 with nine taps by two vectors: 52 GMAC/s, the tile outgrows L1
  three taps by four vectors, 48 channels: as fast as nine taps by two vectors, but 48 is no word
  nine taps, one call for each image row: 15 to 20 % slower than one for all rows that meet the
    same taps
  activations read in place at strides of a power of two without prefetching: 1x1 layers take up
    to 1.6 times as long; the other kernels lay them out, one block of channels at a time
  four accumulators of 16 vectors for `needed`: 229 GMAC/s against 260 at 60 % zeros"""


class Version(NamedTuple):
    """One rung: a call, and the multiply-adds it cannot avoid."""

    name: str
    run: Callable[[], object]
    useful: float
    nominal: float


def main() -> None:
    """Check, time and print every fraction of zeros."""
    options = parse_arguments(
        __doc__, smoke={"channels": 33, "side": 5, "images": 2}, channels=256, side=28, images=8
    )
    torch.set_num_threads(options.threads)
    machine = measure_machine(options.threads)
    print_machine(machine, machine.bandwidth)
    for taps in (3, 1):
        for zeros in ZEROS:
            versions = ladder(options, taps, zeros)
            spreads = time_interleaved(
                {version.name: version.run for version in versions},
                rounds=options.rounds,
                settle=0.0,
            )
            print(f"\n{taps} x {taps}, {zeros:.0%} zeros, checked; median of {options.rounds}")
            for version in versions:
                print_rung(version, spreads[version.name], machine)
    print(f"\n{LOST}")


def ladder(options: argparse.Namespace, taps: int, zeros: float) -> list[Version]:
    """All versions of all passes of one square layer, checked."""
    rng = np.random.default_rng(0)
    shape = (options.images, options.side, options.side, options.channels)
    weight = rng.standard_normal((options.channels, taps, taps, options.channels), dtype=np.float32)
    x, dy = (with_zeros(rng, shape, zeros) for _ in range(2))
    over: dict[str, Any] = {"padding": (taps // 2, taps // 2)}
    size, kernel, threads = shape[1:3], (taps, taps), options.threads
    mask, dy_mask = nonzero_mask(x), nonzero_mask(dy)
    nominal = float(np.prod(shape)) * options.channels * taps * taps
    useful = nominal * (1.0 - zeros)
    few = slice(0, 1)

    check(
        skip.zeroskip_forward(x[few], weight, **over),
        reference.zeroskip_forward(x[few], weight, **over),
    )
    needed = nonzero_mask(x[few])
    masks: tuple[dict[str, Any], ...] = ({}, {"needed": needed})
    for given in masks:
        check(
            skip.zeroskip_backward_input(dy[few], weight, size, **over, **given),
            reference.zeroskip_backward_input(dy[few], weight, size, **over, **given),
        )
    for way in ("input", "gradient"):
        check(
            skip.zeroskip_backward_weight(x[few], dy[few], kernel, skip=way, **over),
            reference.zeroskip_backward_weight(x[few], dy[few], kernel, skip=way, **over),
        )
    all_over = over | {"threads": threads}
    found = "nine taps" if taps == 3 else "one tap"
    return [
        *dense(x, weight, dy, taps, nominal),
        Version(
            f"forward, {found}",
            lambda: skip.zeroskip_forward(x, weight, mask=mask, **all_over),
            useful,
            nominal,
        ),
        Version(
            f"backward input, {found}",
            lambda: skip.zeroskip_backward_input(dy, weight, size, mask=dy_mask, **all_over),
            useful,
            nominal,
        ),
        Version(
            "backward input, needed",
            lambda: skip.zeroskip_backward_input(dy, weight, size, needed=mask, **all_over),
            useful,
            nominal,
        ),
        Version(
            "backward weight, input",
            lambda: skip.zeroskip_backward_weight(x, dy, kernel, mask=mask, **all_over),
            useful,
            nominal,
        ),
        Version(
            "backward weight, gradient",
            lambda: skip.zeroskip_backward_weight(
                x, dy, kernel, dy_mask=dy_mask, skip="gradient", **all_over
            ),
            useful,
            nominal,
        ),
    ]


def dense(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    dy: NDArray[np.float32],
    taps: int,
    work: float,
) -> list[Version]:
    """oneDNN's three passes, which multiply by every zero."""
    tensors = [torch.from_numpy(array).permute(0, 3, 1, 2) for array in (x, weight, dy)]
    images, filters, gradient = tensors
    geometry = ([1, 1], [taps // 2] * 2, [1, 1], False, [0, 0], 1)
    aten = torch.ops.aten

    def back(*wanted: bool) -> Callable[[], object]:
        return lambda: aten.convolution_backward(
            gradient, images, filters, None, *geometry, [*wanted, False]
        )

    forward = Version(
        "torch forward", lambda: aten.convolution(images, filters, None, *geometry), work, work
    )
    return [
        forward,
        Version("torch backward input", back(True, False), work, work),
        Version("torch backward weight", back(False, True), work, work),
    ]


def with_zeros(
    rng: np.random.Generator, shape: tuple[int, ...], zeros: float
) -> NDArray[np.float32]:
    """Noise of which about this fraction is zero."""
    kept = rng.random(shape, dtype=np.float32) >= zeros
    return rng.standard_normal(shape, dtype=np.float32) * kept


def check(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> None:
    """Stop where a version computes something else, beyond rounding."""
    error = float(np.abs(found - wanted).max())
    allowed = CHECKED * max(1.0, float(np.abs(wanted).max()))
    if not error <= allowed:
        raise SystemExit(f"error {error:.3g}, wanted at most {allowed:.3g}")


def print_rung(version: Version, seconds: Spread, machine: Machine) -> None:
    """Time, useful and nominal rate, and the useful share of the multiply-add ceiling."""
    share = machine.share_of_peak(version.useful, seconds.median)
    print(
        f"  {version.name:26} {seconds.median * 1e3:8.2f} ms ({seconds.low * 1e3:.2f} to "
        f"{seconds.high * 1e3:.2f}) {version.useful / seconds.median / 1e9:6.1f} useful, "
        f"{version.nominal / seconds.median / 1e9:6.1f} nominal GMAC/s, {share:5.1%} of the ceiling"
    )


if __name__ == "__main__":
    main()
