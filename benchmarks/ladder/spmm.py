"""The ladder of `spmm`: sparse weights times a batch, from the plain reference to the kernels used.

    python -m benchmarks.ladder.spmm [--neurons 1024] [--samples 1024] [--threads 1] [--smoke]

Every version is checked against float64 first and only then timed, interleaved with the others, and
printed against the machine's two ceilings as measured in the same run. Steps:

    0  reference            one row at a time, float64: what every other version must compute
    1  scipy                CSR weights times a dense batch [neurons, samples], in cache-sized slabs
    2  rows, tile 16        samples side by side in panels; a row's sums stay in registers through
                            all its weights; the panel stays in L2 through all layers
    3  rows, tile 32        two vectors a weight: half as many weights and columns to load
    4  rows, tile 64        four vectors a weight; the panel is twice as large, too
    5  blocks, 2/4/8 high   rows that share their columns: each activation that is loaded serves
                            2, 4 or 8 rows, so that loads no longer limit the multiply-adds
    6  scatter              sparse samples: a non-zero meets the weights of its input, zeros none
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.harness.ladder import parse_arguments, print_machine
from benchmarks.harness.machine import Machine, measure_machine
from benchmarks.peers import ScipyDense
from espalier import Network, radixnet, random_network
from espalier.kernels import RowBlocks, pack, pack_by_input, reference
from espalier.kernels.samples import native_samples
from espalier.kernels.segment import run_segment
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

TILES = (16, 32, 64)
HEIGHTS = (2, 4, 8)
COPIES = 16  # rows that share their columns in a challenge network
DENSITY = 0.1
CHECKED = 8

LOST = """\
Designs that lost:
  column blocks in L1 with accumulators in L2, rows sorted by count: 26-44 GMAC/s against 40-48
    direct at 1024 wide: the accumulators' own traffic eats the gain
  two or four rows interleaved: within 3 % of one row unrolled by four
  software prefetch 4-16 entries ahead: no gain
  weights broadcast from a general register instead of memory: no gain
  tile of 48 samples: as 32, but not a power of two
  16-bit activations: not exact, refused"""


class Version(NamedTuple):
    """One rung: returns activations ``[samples, outputs]`` of a batch."""

    name: str
    run: Callable[[], NDArray[np.float32]]
    multiply_adds: int
    weight_bytes: int


class Ladder(NamedTuple):
    """Versions that compute the same function of the same batch."""

    title: str
    network: Network
    batch: Any
    versions: list[Version]


def main() -> None:
    """Check, time and print every ladder."""
    options = parse_arguments(
        __doc__,
        smoke={"neurons": 256, "layers": 2, "samples": 70},
        neurons=1024,
        layers=24,
        samples=1024,
    )
    machine = measure_machine(options.threads)
    print_machine(machine, machine.bandwidth)
    for ladder in (structureless(options), shared_columns(options), sparse_input(options)):
        for version in ladder.versions:
            check(ladder, version)
        spreads = time_interleaved(
            {version.name: version.run for version in ladder.versions}, rounds=options.rounds
        )
        print(f"\n{ladder.title}; {options.samples} samples, checked; median of {options.rounds}")
        for version in ladder.versions:
            print_rung(ladder, version, spreads[version.name], machine)
    print(f"\n{LOST}")


def structureless(options: argparse.Namespace) -> Ladder:
    """Rows with columns of their own, 32 each."""
    network = Network(list(random_network(options.neurons, options.layers)))
    batch = rectified_noise(options)
    versions = [
        plain(network, batch),
        scipy(network, batch, options),
        *(engine(f"rows, tile {tile}", network, batch, tile, None, options) for tile in TILES),
    ]
    return Ladder(f"rows of their own, {network!r}", network, batch, versions)


def shared_columns(options: argparse.Namespace) -> Ladder:
    """Rows of a challenge network: 16 share their columns; no bias, so that all samples live."""
    network = Network(list(radixnet(options.neurons, options.layers, bias=0.0, weight=2.0**-5)))
    batch = rectified_noise(options)
    blocks = {height: rows_that_share(options.neurons, height) for height in HEIGHTS}
    versions = [
        scipy(network, batch, options),
        *(engine(f"rows, tile {tile}", network, batch, tile, None, options) for tile in TILES),
        *(
            engine(
                f"blocks {height} high, tile {tile}", network, batch, tile, blocks[height], options
            )
            for height in HEIGHTS
            for tile in TILES
        ),
    ]
    return Ladder(f"rows in blocks of {COPIES}, {network!r}", network, batch, versions)


def sparse_input(options: argparse.Namespace) -> Ladder:
    """The first layer on samples a tenth of which is not zero."""
    network = Network([random_network(options.neurons, 1)[0]])
    noise = rectified_noise(options)
    noise[np.random.default_rng(1).random(noise.shape) >= 2 * DENSITY] = 0.0
    batch = sp.csr_array(noise)
    tile = TILES[-1]
    versions = [
        engine(f"rows, tile {tile}", network, batch, tile, None, options),
        engine("scatter", network, batch, tile, None, options, scatter=True),
    ]
    title = f"sparse input, {batch.nnz / noise.size:.0%} not zero, {network!r}"
    return Ladder(title, network, batch, versions)


def plain(network: Network, batch: NDArray[np.float32]) -> Version:
    """The reference, cast down at the end."""

    def run() -> NDArray[np.float32]:
        return reference.infer(network, batch).astype(np.float32)

    return Version("reference", run, network.connections, 8 * network.connections)


def scipy(network: Network, batch: NDArray[np.float32], options: argparse.Namespace) -> Version:
    """scipy's product into a preallocated output; the transposed batch is loaded before."""
    peer = ScipyDense(network, threads=options.threads)
    slabs = peer.load(batch)

    def run() -> NDArray[np.float32]:
        return peer.activations(peer.run(slabs), slabs)

    return Version("scipy", run, network.connections, 8 * network.connections)


def engine(
    name: str,
    network: Network,
    batch: Any,
    tile: int,
    blocks: RowBlocks | None,
    options: argparse.Namespace,
    *,
    scatter: bool = False,
) -> Version:
    """The native engine: from rows in memory to rows in memory."""
    packed = [pack(layer, blocks) for layer in network]
    first = pack_by_input(network[0]) if scatter else None
    samples = native_samples(batch, None)

    def run() -> NDArray[np.float32]:
        segment = run_segment(packed, samples, first=first, tile=tile, threads=options.threads)
        return segment.rows

    multiply_adds = network.connections
    if scatter:
        multiply_adds = network.connections * batch.nnz // (batch.shape[0] * batch.shape[1])
    return Version(name, run, multiply_adds, sum(layer.bytes for layer in packed))


def rows_that_share(neurons: int, height: int) -> RowBlocks:
    """Blocks of `height` rows; copy c of base neuron a is row ``a + c * neurons / COPIES``."""
    rows = np.arange(neurons, dtype=np.int32).reshape(COPIES, -1).T.ravel()
    return RowBlocks(np.arange(0, neurons + 1, height, dtype=np.int64), np.ascontiguousarray(rows))


def rectified_noise(options: argparse.Namespace) -> NDArray[np.float32]:
    """Dense samples, half of them zero."""
    shape = (options.samples, options.neurons)
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return np.maximum(noise, 0.0)


def check(ladder: Ladder, version: Version) -> None:
    """Stop where a version computes something else than the reference, beyond rounding."""
    few = ladder.batch[:CHECKED]
    expected = reference.infer(ladder.network, few)
    error = float(np.abs(version.run()[:CHECKED] - expected).max())
    allowed = 1e-4 * max(1.0, float(np.abs(expected).max()))
    if not error <= allowed:
        raise SystemExit(f"{version.name}: error {error:.3g}, wanted at most {allowed:.3g}")


def print_rung(ladder: Ladder, version: Version, seconds: Spread, machine: Machine) -> None:
    """Time, and shares of both ceilings: multiply-adds, and bytes that must move at least."""
    samples = ladder.batch.shape[0]
    work = version.multiply_adds * samples
    moved = version.weight_bytes + 4 * samples * (ladder.network.inputs + ladder.network.outputs)
    share = machine.share_of_peak(work, seconds.median)
    bandwidth = moved / seconds.median / machine.bandwidth
    print(
        f"  {version.name:24} {seconds.median * 1e3:9.2f} ms ({seconds.low * 1e3:.2f} to "
        f"{seconds.high * 1e3:.2f}) {work / seconds.median / 1e9:7.2f} GMAC/s, "
        f"{share:5.1%} of multiply-adds, {bandwidth:5.1%} of bandwidth"
    )


if __name__ == "__main__":
    main()
