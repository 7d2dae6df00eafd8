"""The ladder of a sparse layer's training step: products with a fixed pattern of non-zeros.

    python -m benchmarks.ladder.sparse_linear [--size 1024] [--batch 128] [--threads 1] [--smoke]

Every version is checked against float64 first and only then timed, interleaved with the others, and
printed against two ceilings of the machine as measured in the same run: multiply-adds in registers,
and the L2 cache's bandwidth, since a non-zero must read the samples of one feature. Steps:

    0  reference        float64, NumPy: what all others must compute
    1  torch            CSR, stored transpose and sampled_addmm, the peer; samples side by side
    2  rows             spmm with samples in rows: copied to panels of 128, sums in registers
    3  features         the same with samples side by side already: nothing is copied
    4  separate         backward by two products, each of which reads a panel: spmm_transposed
                        over the transposed pattern, sddmm over the rows
    5  fused            one pass over the transposed pattern does both with one read of dy
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness.ladder import parse_arguments, print_machine
from benchmarks.harness.machine import Machine, measure_machine
from espalier.kernels import Pattern, peak_bandwidth
from espalier.nn.sparse import patterns
from espalier.timing.interleave import time_interleaved
from espalier.timing.spread import Spread

DENSITIES = (0.1, 0.05, 0.02)
CHECKED = 1e-4
Samples = NDArray[np.float32]
PANEL = 512 << 10  # bytes: 128 samples of 1024 features

LOST = """\
Designs that lost (1024 x 1024 unless said otherwise, 10 %, one thread):
  tiles of 64 samples in place of 128: forward 47 GMAC/s against 53, fused backward 43 against 56;
    index and value are read twice as often
  separate backward passes: 0.58 ms against 0.39; dy's panel comes out of L2 twice
  each vector of dy loaded where it is used, which gcc folds into both multiply-adds, and the
    places of sixteen dots in registers at once: 0.51 ms against 0.39 for the fused pass
  transposed pattern in plain column order at 4096 x 4096: 12 to 15 ms for the fused pass against
    8 to 10 block by block; without fetching values and gradients early 13 to 23
  fetching the first lines of the next row early, forward: no gain alone, slower beside other work
  panels of 256 KiB or 1 MiB in place of 512 at 4096 x 4096: the same within noise, and slower
  huge pages for panels of 512 KiB: 1 to 3 %, not worth 2 MiB for every small layer
  16384 x 16384, 32 a row, batch 256, AVX2, busy machine, forward: tiles of 16 samples with blocks
    of 4096 or 8192 columns 73 to 76 ms, of 8 samples 69 to 161, tiles of 64 in blocks of 1024 77,
    in one block 21 to 28; backward 197 to 215, 310 to 373, 176 and 55 to 62"""


class Version(NamedTuple):
    """One rung: a call, what it gives, and how many products it makes of all non-zeros."""

    name: str
    run: Callable[[], tuple[Samples, ...]]
    gives: tuple[str, ...]
    products: int = 1


class Problem(NamedTuple):
    """A square layer with samples and gradients, in rows."""

    pattern: Pattern
    matrix: patterns.Pattern
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    x: NDArray[np.float32]
    dy: NDArray[np.float32]


def main() -> None:
    """Check, time and print every density."""
    options = parse_arguments(__doc__, smoke={"size": 67, "batch": 33}, size=1024, batch=128)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", UserWarning)  # torch's CSR: "beta state"
    machine = measure_machine(options.threads)
    cache = peak_bandwidth(options.threads, PANEL)
    print_machine(machine, cache, " from L2")
    for density in DENSITIES:
        problem = draw(options.size, options.batch, density)
        versions = [*torch_csr(problem), *ours(problem, options.threads)]
        check(problem, versions)
        spreads = time_interleaved(
            {version.name: version.run for version in versions}, rounds=options.rounds, settle=0.0
        )
        size = f"{options.size} x {options.size}, batch {options.batch}"
        print(f"\n{size}, {density:.0%} density, checked; median of {options.rounds}")
        work = float(len(problem.values) * options.batch)
        for version in versions:
            print_rung(version, spreads[version.name], work, machine, cache)
    print(f"\n{LOST}")


def draw(size: int, batch: int, density: float) -> Problem:
    """Noise over a random pattern."""
    rng = np.random.default_rng(0)
    matrix = patterns.uniform(size, size, density, seed=0)
    numbers = [
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((matrix.nnz,), (size,), (batch, size), (batch, size))
    ]
    return Problem(Pattern(matrix.indptr, matrix.indices, size), matrix, *numbers)


def torch_csr(problem: Problem) -> list[Version]:
    """PyTorch's three products."""
    csr = problem.matrix.astype(np.float32)
    csr.data[:] = problem.values
    zero = csr.copy()
    zero.data[:] = 0.0
    weight, transpose, nothing = (tensor_of(matrix) for matrix in (csr, csr.T.tocsr(), zero))
    x, bias = torch.from_numpy(problem.x), torch.from_numpy(problem.bias)[:, None]
    columns, dy = (torch.from_numpy(np.ascontiguousarray(a.T)) for a in (problem.x, problem.dy))

    def sampled() -> tuple[Samples, ...]:
        return (torch.sparse.sampled_addmm(nothing, dy, x, beta=0.0).values().numpy(),)

    return [
        Version("torch forward", lambda: ((weight @ columns + bias).t().numpy(),), ("y",)),
        Version("torch dx", lambda: ((transpose @ dy).t().numpy(),), ("dx",)),
        Version("torch dvalues", sampled, ("dvalues",)),
    ]


def tensor_of(matrix: Any) -> torch.Tensor:
    """With indices of 32 bits, which MKL wants."""
    arrays = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data.copy()
    offsets, columns, values = map(torch.from_numpy, arrays)
    return torch.sparse_csr_tensor(offsets, columns, values, size=matrix.shape)


def ours(problem: Problem, threads: int) -> list[Version]:
    """The kernels, with samples in rows and side by side."""
    pattern, values, over = problem.pattern, problem.values, {"threads": threads}
    y, dx = np.empty_like(problem.dy), np.empty_like(problem.x)
    x, dy, y_by_feature, dx_by_feature = map(np.asfortranarray, (problem.x, problem.dy, y, dx))

    def fused(x: Samples, dy: Samples, dx: Samples) -> tuple[Samples, ...]:
        gradients = pattern.backward(
            values, x, dy, needs_input_grad=(True, True, False), dx=dx, **over
        )
        assert gradients.x is not None and gradients.values is not None
        return gradients.x, gradients.values

    def forward(x: Samples, y: Samples) -> tuple[Samples, ...]:
        return (pattern.spmm(values, x, problem.bias, out=y, **over),)

    def by_x() -> tuple[Samples, ...]:
        return (pattern.spmm_transposed(values, dy, out=dx_by_feature, **over),)

    both = ("dx", "dvalues")
    return [
        Version("forward, rows", lambda: forward(problem.x, y), ("y",)),
        Version("forward, features", lambda: forward(x, y_by_feature), ("y",)),
        Version("dx", by_x, ("dx",)),
        Version("dvalues", lambda: (pattern.sddmm(dy, x, **over),), ("dvalues",)),
        Version("fused, rows", lambda: fused(problem.x, problem.dy, dx), both, products=2),
        Version("fused, features", lambda: fused(x, dy, dx_by_feature), both, products=2),
    ]


def check(problem: Problem, versions: list[Version]) -> None:
    """Stop where a version computes something else, beyond rounding."""
    dense = problem.matrix.astype(np.float64).toarray()
    dense[dense != 0] = problem.values
    x, dy = problem.x.astype(np.float64), problem.dy.astype(np.float64)
    expected = {
        "y": x @ dense.T + problem.bias,
        "dx": dy @ dense,
        "dvalues": (dy.T @ x)[problem.matrix.nonzero()],
    }
    for version in versions:
        for name, found in zip(version.gives, version.run(), strict=True):
            error = float(np.abs(found - expected[name]).max(initial=0.0))
            allowed = CHECKED * max(1.0, float(np.abs(expected[name]).max(initial=0.0)))
            if not error <= allowed:
                raise SystemExit(f"{version.name}: {name} is off by {error:.3g}")


def print_rung(
    version: Version, seconds: Spread, work: float, machine: Machine, cache: float
) -> None:
    """Time, rate, and the shares of the two ceilings."""
    rate = version.products * work / seconds.median
    print(
        f"  {version.name:18} {seconds.median * 1e3:8.3f} ms ({seconds.low * 1e3:.3f} to "
        f"{seconds.high * 1e3:.3f}) {rate / 1e9:6.1f} GMAC/s, "
        f"{rate / machine.multiply_adds:5.1%} of the ceiling, "
        f"{4 * work / seconds.median / cache:5.1%} of L2"
    )


if __name__ == "__main__":
    main()
