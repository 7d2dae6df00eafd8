"""Published results of the Sparse DNN Graph Challenge, as context beside our own measurements.

Times are for 60,000 inputs. Other machines, other years: context, not a race run today.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Best:
    """A best published time and who holds it; `approximate` means lossy in general."""

    seconds: float
    by: str
    approximate: bool = False


SNICIT = "SNICIT, ICPP 2023"
GLARE = "SNICIT with GLARE, HPEC 2023"
KOKKOS = "Kokkos, Ellis and Rajamanickam, HPEC 2019"
DAVIS = "SuiteSparse:GraphBLAS, Davis et al., HPEC 2019"

# One GPU, activations already on it. SNICIT: "SNICIT: Accelerating Sparse Neural Network Inference
# via Compression at Inference Time on GPU", Table 3; both on the RTX 3090: "GLARE: Accelerating
# Sparse DNN Inference Kernels with Global Memory Access Reduction", Table III.
BEST_GPU = {
    (1024, 120): Best(12.85e-3, f"{SNICIT}, RTX 3090", approximate=True),
    (1024, 480): Best(22.47e-3, f"{SNICIT}, RTX 3090", approximate=True),
    (1024, 1920): Best(58.90e-3, f"{SNICIT}, RTX 3090", approximate=True),
    (4096, 120): Best(29.23e-3, f"{SNICIT}, RTX 3090", approximate=True),
    (4096, 480): Best(38.81e-3, f"{SNICIT}, RTX 3090", approximate=True),
    (4096, 1920): Best(78.47e-3, f"{GLARE}, RTX 3090", approximate=True),
    (16384, 120): Best(97.25e-3, f"{GLARE}, RTX 3090", approximate=True),
    (16384, 480): Best(105.1e-3, f"{GLARE}, RTX 3090", approximate=True),
    (16384, 1920): Best(147.1e-3, f"{GLARE}, RTX 3090", approximate=True),
    (65536, 120): Best(462.8e-3, f"{SNICIT}, RTX A6000", approximate=True),
    (65536, 480): Best(507.0e-3, f"{SNICIT}, RTX A6000", approximate=True),
    (65536, 1920): Best(689.2e-3, f"{SNICIT}, RTX A6000", approximate=True),
}

UIUC = "UIUC, HPEC 2020"
XY = "XY, HPEC 2021"

# The same, of those that compute every sample exactly: UIUC from the rates of its paper, XY as
# SNICIT's Table 3 (RTX A6000) and GLARE's Table III (RTX 3090) have it.
BEST_EXACT_GPU = {
    (1024, 120): Best(14.1e-3, f"{UIUC}, A100"),
    (1024, 480): Best(40.93e-3, f"{XY}, RTX A6000"),
    (1024, 1920): Best(143.15e-3, f"{XY}, RTX A6000"),
    (4096, 120): Best(39.06e-3, f"{XY}, RTX A6000"),
    (4096, 480): Best(93.89e-3, f"{XY}, RTX A6000"),
    (4096, 1920): Best(312.3e-3, f"{XY}, RTX A6000"),
    (16384, 120): Best(124.9e-3, f"{XY}, RTX 3090"),
    (16384, 480): Best(300.9e-3, f"{XY}, RTX 3090"),
    (16384, 1920): Best(994.2e-3, f"{XY}, RTX 3090"),
    (65536, 120): Best(554.6e-3, f"{XY}, RTX 3090"),
    (65536, 480): Best(1317e-3, f"{XY}, RTX A6000"),
    (65536, 1920): Best(4347e-3, f"{XY}, RTX A6000"),
}

# One CPU node, computed from the rates that Table II of "At-Scale Sparse Deep Neural Network
# Inference with Efficient GPU Implementation", HPEC 2020, quotes.
BEST_CPU = {
    (1024, 120): Best(0.85, KOKKOS),
    (1024, 480): Best(3.22, DAVIS),
    (1024, 1920): Best(13.5, KOKKOS),
    (4096, 120): Best(4.45, KOKKOS),
    (4096, 480): Best(17.5, KOKKOS),
    (4096, 1920): Best(69.9, KOKKOS),
    (16384, 120): Best(29.7, KOKKOS),
    (16384, 480): Best(118.0, KOKKOS),
    (16384, 1920): Best(461.0, KOKKOS),
    (65536, 120): Best(144.0, DAVIS),
    (65536, 480): Best(554.0, DAVIS),
    (65536, 1920): Best(2144.0, DAVIS),
}

# Seconds of Wang et al., "Performance of Training Sparse Deep Neural Networks on GPUs", HPEC
# 2019, Tables IV-VI. The rates of its Tables VII-IX do not always agree with these times, so rates
# are computed here, with `rate`. Networks that ran out of memory have no entry.
FSSL_SECONDS: dict[tuple[Device, Strategy], dict[tuple[int, int], float]] = {
    ("V100", "buffer"): {
        (1024, 120): 2.787,
        (1024, 480): 9.786,
        (1024, 1920): 39.32,
        (4096, 120): 14.50,
        (4096, 480): 56.52,
        (4096, 1920): 228.2,
        (16384, 120): 99.40,
        (16384, 480): 403.0,
        (16384, 1920): 1610.0,
    },
    ("V100", "no buffer"): {
        (1024, 120): 3.904,
        (1024, 480): 14.64,
        (1024, 1920): 57.75,
        (4096, 120): 49.98,
        (4096, 480): 197.3,
        (4096, 1920): 788.4,
        (16384, 120): 601.7,
        (16384, 480): 2420.0,
        (16384, 1920): 9738.0,
    },
    ("V100", "filter"): {
        (1024, 120): 2.758,
        (1024, 480): 9.714,
        (1024, 1920): 38.27,
        (4096, 120): 13.99,
        (4096, 480): 54.13,
        (4096, 1920): 223.6,
        (16384, 120): 98.16,
        (16384, 480): 399.3,
        (16384, 1920): 1589.0,
    },
    ("GTX-1080", "buffer"): {
        (1024, 120): 9.810,
        (1024, 480): 35.17,
        (1024, 1920): 135.98,
        (4096, 120): 55.98,
        (4096, 480): 208.5,
        (4096, 1920): 815.9,
    },
    ("GTX-1080", "no buffer"): {
        (1024, 120): 7.292,
        (1024, 480): 26.19,
        (1024, 1920): 101.04,
        (4096, 120): 90.21,
        (4096, 480): 345.7,
        (4096, 1920): 1372.0,
    },
    ("GTX-1080", "filter"): {
        (1024, 120): 9.706,
        (1024, 480): 36.22,
        (1024, 1920): 139.97,
        (4096, 120): 51.59,
        (4096, 480): 200.4,
        (4096, 1920): 810.7,
        (16384, 120): 3253.0,
        (16384, 480): 4782.0,
    },
}
