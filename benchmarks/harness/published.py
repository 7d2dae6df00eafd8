"""Published results of the Sparse DNN Graph Challenge, as context beside our own measurements.

Times are for 60,000 inputs. Other machines, other years: context, not a race run today.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

INPUTS = 60_000
CONNECTIONS_PER_NEURON = 32
DEPTHS = (120, 480, 1920)

Device = Literal["V100", "GTX-1080"]
Strategy = Literal["buffer", "no buffer", "filter"]


@dataclass(frozen=True, slots=True)
class ChallengeSize:
    """What the challenge fixes for a number of neurons, whatever the depth.

    Source: graphchallenge.mit.edu; the reference code of `graphchallenge/GraphChallenge`.
    """

    neurons: int
    bias: float
    input_pixels: int
    categories: int


SIZES = {
    size.neurons: size
    for size in (
        ChallengeSize(1024, -0.30, 6_374_505, 1812),
        ChallengeSize(4096, -0.35, 25_019_051, 1801),
        ChallengeSize(16384, -0.40, 98_858_913, 1918),
        ChallengeSize(65536, -0.45, 392_191_985, 1994),
    )
}

NETWORKS = tuple((neurons, layers) for neurons in SIZES for layers in DEPTHS)


def connections(neurons: int, layers: int) -> int:
    """Nominal connections of a challenge network.

    >>> connections(1024, 120)
    3932160
    """
    return CONNECTIONS_PER_NEURON * neurons * layers


def rate(neurons: int, layers: int, seconds: float) -> float:
    """Nominal connections times inputs per second, the challenge's own figure."""
    return INPUTS * connections(neurons, layers) / seconds


class Best(NamedTuple):
    """A best published time and who holds it."""

    seconds: float
    by: str


KOKKOS = "Kokkos, Ellis and Rajamanickam, HPEC 2019"
DAVIS = "SuiteSparse:GraphBLAS, Davis et al., HPEC 2019"
SNICIT = "SNICIT, ICPP 2023, RTX 3090"
SNICIT_A6000 = "SNICIT, ICPP 2023, RTX A6000"
GLARE = "SNICIT with GLARE, HPEC 2023, RTX 3090"
UIUC = "UIUC, HPEC 2020, A100"
XY_A6000, XY_3090 = "XY, HPEC 2021, RTX A6000", "XY, HPEC 2021, RTX 3090"

# One CPU node, computed from the rates that Table II of "At-Scale Sparse Deep Neural Network
# Inference with Efficient GPU Implementation", HPEC 2020, quotes.
# One GPU, activations already on it. SNICIT, lossy in general: "SNICIT: Accelerating Sparse Neural
# Network Inference via Compression at Inference Time on GPU", Table 3; both on the RTX 3090:
# "GLARE: Accelerating Sparse DNN Inference Kernels with Global Memory Access Reduction", Table III.
# One GPU that computes every sample exactly: UIUC from the rates of its paper, XY as SNICIT's
# Table 3 (RTX A6000) and GLARE's Table III (RTX 3090) have it.
_BEST = {
    (1024, 120): ((0.85, KOKKOS), (12.85e-3, SNICIT), (14.1e-3, UIUC)),
    (1024, 480): ((3.22, DAVIS), (22.47e-3, SNICIT), (40.93e-3, XY_A6000)),
    (1024, 1920): ((13.5, KOKKOS), (58.90e-3, SNICIT), (143.15e-3, XY_A6000)),
    (4096, 120): ((4.45, KOKKOS), (29.23e-3, SNICIT), (39.06e-3, XY_A6000)),
    (4096, 480): ((17.5, KOKKOS), (38.81e-3, SNICIT), (93.89e-3, XY_A6000)),
    (4096, 1920): ((69.9, KOKKOS), (78.47e-3, GLARE), (312.3e-3, XY_A6000)),
    (16384, 120): ((29.7, KOKKOS), (97.25e-3, GLARE), (124.9e-3, XY_3090)),
    (16384, 480): ((118.0, KOKKOS), (105.1e-3, GLARE), (300.9e-3, XY_3090)),
    (16384, 1920): ((461.0, KOKKOS), (147.1e-3, GLARE), (994.2e-3, XY_3090)),
    (65536, 120): ((144.0, DAVIS), (462.8e-3, SNICIT_A6000), (554.6e-3, XY_3090)),
    (65536, 480): ((554.0, DAVIS), (507.0e-3, SNICIT_A6000), (1317e-3, XY_A6000)),
    (65536, 1920): ((2144.0, DAVIS), (689.2e-3, SNICIT_A6000), (4347e-3, XY_A6000)),
}
BEST_CPU, BEST_GPU, BEST_EXACT_GPU = (
    {size: Best(*row[column]) for size, row in _BEST.items()} for column in range(3)
)

# Seconds of Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC
# 2019, Tables IV-VI. The rates of its Tables VII-IX do not always agree with these times, so rates
# are computed here, with `rate`. None where memory ran out.
_DEVICES: tuple[Device, ...] = ("V100", "GTX-1080")
_STRATEGIES: tuple[Strategy, ...] = ("buffer", "no buffer", "filter")
_FSSL_ROWS: dict[tuple[int, int], tuple[float | None, ...]] = {  # three on each device
    (1024, 120): (2.787, 3.904, 2.758, 9.81, 7.292, 9.706),
    (1024, 480): (9.786, 14.64, 9.714, 35.17, 26.19, 36.22),
    (1024, 1920): (39.32, 57.75, 38.27, 135.98, 101.04, 139.97),
    (4096, 120): (14.5, 49.98, 13.99, 55.98, 90.21, 51.59),
    (4096, 480): (56.52, 197.3, 54.13, 208.5, 345.7, 200.4),
    (4096, 1920): (228.2, 788.4, 223.6, 815.9, 1372.0, 810.7),
    (16384, 120): (99.4, 601.7, 98.16, None, None, 3253.0),
    (16384, 480): (403.0, 2420.0, 399.3, None, None, 4782.0),
    (16384, 1920): (1610.0, 9738.0, 1589.0, None, None, None),
}
FSSL_SECONDS: dict[tuple[Device, Strategy], dict[tuple[int, int], float]] = {
    key: {size: seconds for size, row in _FSSL_ROWS.items() if (seconds := row[column]) is not None}
    for column, key in enumerate(product(_DEVICES, _STRATEGIES))
}
