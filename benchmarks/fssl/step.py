"""Section `step`: a training step of a sparse layer, against dense and sparse peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.fssl import layer_candidates
from benchmarks.fssl.layer_candidates import (
    DENSE,
    HAND,
    ROWS,
    SPARSELAB,
    TRAVELLING,
    Candidate,
    Problem,
)
from benchmarks.fssl.settings import Settings
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, grouped
from benchmarks.sparsetrain.layers import break_even
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch
from espalier.timing.interleave import time_interleaved

NAME = "step"
TIMING = 0.02  # seconds of several steps, timed as one
PEERS = (DENSE, HAND, SPARSELAB)
# Above this density only dense matters: sparse peers are slower than that.
PEERS_UP_TO = 0.1


def jobs(settings: Settings) -> list[Job]:
    """One for each size, number of threads and density."""
    return [
        partial(measure, settings, size, threads, density)
        for size in settings.step_sizes
        for threads in settings.forward_threads
        for density in settings.step_densities
    ]


def measure(
    settings: Settings, size: int, threads: int, density: float, watch: Watch
) -> list[Record]:
    """Check all candidates, then time all, interleaved."""
    with torch_threads(threads):
        problem = Problem.draw(size, density, settings.step_batch)
        entries = networks(problem, density)
        for name, entry in entries.items():
            problem.check(name, entry)
        label = f"{size} x {size}, {density:.0%}, {threads} threads"
        with watch(label, "steps") as progress:
            works = {name: entry.step for name, entry in entries.items()}
            seconds = time_interleaved(
                works, rounds=settings.rounds, at_least=TIMING, progress=progress
            )
    best = min((name for name in entries if name in PEERS), key=lambda name: seconds[name].median)
    return [
        {
            "size": size,
            "threads": threads,
            "density": density,
            "batch": settings.step_batch,
            "multiply_adds": 3 * settings.step_batch * int((problem.weight != 0).sum()),
            "seconds": {name: spread.to_dict() for name, spread in seconds.items()},
            "best_peer": best,
            "speedup": {
                name: seconds[best].over(seconds[name]).to_dict() for name in (ROWS, TRAVELLING)
            },
            "over_dense": seconds[DENSE].over(seconds[ROWS]).to_dict(),
        }
    ]


def networks(problem: Problem, density: float) -> dict[str, Candidate]:
    """All candidates that are installed and take this problem, by name."""
    makers: dict[str, Callable[[], Candidate]] = {
        ROWS: lambda: layer_candidates.espalier(problem, travelling=False),
        TRAVELLING: lambda: layer_candidates.espalier(problem, travelling=True),
        DENSE: lambda: layer_candidates.dense(problem),
    }
    if density <= PEERS_UP_TO:
        makers[HAND] = lambda: layer_candidates.torch_csr(problem)
        makers[SPARSELAB] = lambda: layer_candidates.sparselab(problem)
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError:
            if name != SPARSELAB:
                raise
    return found


def break_evens(records: Sequence[Record]) -> list[Record]:
    """The density of each size and number of threads below which sparse is faster than dense."""
    found = []
    for group in grouped(records, "size", "threads"):
        group = sorted(group, key=lambda record: -float(record["density"]))
        zeros = break_even(
            [1.0 - record["density"] for record in group],
            [record["over_dense"]["median"] for record in group],
        )
        density = None if zeros is None else 1.0 - zeros
        found.append(
            {name: group[0][name] for name in ("size", "threads")} | {"break_even": density}
        )
    return found


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    absent = [] if any(SPARSELAB in r["seconds"] for r in records) else ["sparselab is not here."]
    return [
        f"A step: forward and backward of one layer with bias, batch {settings.step_batch}, "
        "gradients by input, weights and bias; all interleaved, some steps at a time, results "
        "checked first (SparseLab draws a pattern of its own).",
        f"{ROWS}: input and gradient come in rows, as from any PyTorch layer. {TRAVELLING}: they "
        "come with samples side by side, as other sparse layers leave them.",
        f"{HAND}: CSR, a transposed CSR beside it and sampled_addmm, without a bias; all operands "
        "lie as it wants them and renewing the transpose's values is not counted.",
        "Best peer: the fastest of the three; speed-ups are its time over ours. Break-even: where "
        "a step takes as long as nn.Linear's, straight between the measured densities; the "
        "highest one measured where it is faster even there.",
        *absent,
    ]


def _seconds(name: str) -> Column:
    return Column(name, lambda r: text.seconds(r["seconds"].get(name, {}).get("median")))


def _speedup(name: str) -> Column:
    return Column(f"{name} over best", lambda r: text.ratios(r["speedup"][name]))


CASE = (
    Column("layer", lambda r: f"{r['size']} x {r['size']}"),
    Column("threads", lambda r: str(r["threads"])),
)
SECTION: Section[Settings] = Section(
    NAME,
    jobs,
    notes,
    Table(
        "A training step of one layer, forward and backward",
        *CASE,
        Column("density", lambda r: f"{r['density']:.0%}"),
        *map(_seconds, (ROWS, TRAVELLING, *PEERS)),
        Column("best peer", lambda r: str(r["best_peer"])),
        *map(_speedup, (ROWS, TRAVELLING)),
    ),
    Table(
        "Density below which a sparse layer is faster than a dense one",
        *CASE,
        Column(
            "break-even",
            lambda r: text.NOTHING if r["break_even"] is None else f"{r['break_even']:.0%}",
        ),
        select=break_evens,
    ),
)
