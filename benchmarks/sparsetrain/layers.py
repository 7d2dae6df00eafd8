"""Section `layers`: speed-up of every layer and pass against the part of random zeros."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, grouped
from benchmarks.sparsetrain.operands import dense_operands
from benchmarks.sparsetrain.pass_times import Candidate, ceilings, images_per_call, time_pass
from benchmarks.sparsetrain.published import NETWORKS
from benchmarks.sparsetrain.settings import ZEROS, Settings
from benchmarks.sparsetrain.shapes import PASSES, LayerShape, Pass, Variant, variants
from espalier.errors import InputError
from espalier.progress import Watch

NAME = "layers"
LINEARS = {  # rows of a batch by layer; the last is the first one of VGG16
    LayerShape(512, 512): (64, 256),
    LayerShape(4096, 4096): (64, 256),
    LayerShape(25088, 4096): (64,),
}


class Case(NamedTuple):
    """A layer, a pass, and how it skips."""

    shape: LayerShape
    name: Pass
    variant: Variant
    rows: int | None = None  # of a linear layer

    @property
    def layer(self) -> str:
        """What tables call the layer."""
        return self.shape.label + (f", {self.rows} rows" if self.rows else "")


def jobs(settings: Settings) -> list[Job]:
    """One case each.

    Raises:
        InputError: no layer has such a name.
    """
    chosen = [case for case in all_cases(settings) if _wanted(case, settings.layers)]
    if not chosen:
        known = ", ".join(dict.fromkeys(case.layer for case in all_cases(settings)))
        raise InputError(f"no layer's name contains {settings.layers}; the layers are {known}")
    return [partial(measure, settings, case) for case in chosen]


def all_cases(settings: Settings) -> list[Case]:
    """The distinct layers of the networks, in every pass in which they meet zeros."""
    names = NETWORKS if settings.layers else settings.networks
    cases = [
        Case(layer.shape, name, variant)
        for network in names
        for layer in NETWORKS[network].layers
        for name in PASSES
        for variant in variants(name, sparse_gradient=layer.gradient_zeros > 0.0)
    ]
    cases += [
        Case(shape, name, variant, rows)
        for shape, batches in LINEARS.items()
        for rows in batches
        for name in PASSES
        for variant in variants(name, sparse_gradient=True)
    ]
    return sorted(set(cases), key=cases.index)


def measure(settings: Settings, case: Case, watch: Watch) -> list[Record]:
    """The record of one case at every fraction of zeros."""
    machine = ceilings(settings.threads)
    shape, images = case.shape, case.rows or images_per_call(case.shape, settings)
    rng = np.random.default_rng(0)
    dense = dense_operands(shape, images, rng)
    candidates = {
        f"{zeros:.0%}": Candidate(case.variant, dense.with_zeros(zeros, case.variant, rng))
        for zeros in settings.zeros
    }
    with watch(f"{case.layer}, {case.name}", "runs") as progress:
        times = time_pass(shape, case.name, dense, candidates, settings, progress)
    work = shape.multiply_adds * images
    speedups = [times.speedup(label).median for label in candidates]
    return [
        {
            "layer": case.layer,
            "kind": shape.kind,
            "pass": case.name,
            "variant": case.variant,
            "networks": [
                n.name for n in NETWORKS.values() if any(shape == p.shape for p in n.layers)
            ],
            "images": images,
            "multiply_adds": work,
            "dense_seconds": times.dense.to_dict(),
            "dense_rate": work / times.dense.median,
            "ceiling": machine.multiply_adds,
            "bytes_allow": times.dense.median * machine.bandwidth / shape.bytes_moved(images),
            "look_seconds": times.mask.to_dict(),
            "levels": [
                {"zeros": zeros} | times.to_record(label)
                for zeros, label in zip(settings.zeros, candidates, strict=True)
            ],
            "break_even": break_even(settings.zeros, speedups),
        }
    ]


def break_even(zeros: Sequence[float], speedups: Sequence[float]) -> float | None:
    """The part of zeros from which on zero-skip is faster; None where it never is.

    Times are taken to be straight between the measured fractions.

    >>> break_even((0.0, 0.5, 0.9), (0.8, 1.25, 4.0))
    0.2777777777777778
    >>> break_even((0.0, 0.5), (1.1, 2.0)), break_even((0.0, 0.5), (0.5, 0.9))
    (0.0, None)
    """
    slowness = [1.0 / speedup for speedup in speedups]
    last = max((index for index, value in enumerate(slowness) if value > 1.0), default=None)
    if last is None:
        return zeros[0]
    if last == len(zeros) - 1:
        return None
    before, after = slowness[last], slowness[last + 1]
    share = (before - 1.0) / (before - after)
    return zeros[last] + share * (zeros[last + 1] - zeros[last])


def summary(records: Sequence[Record]) -> list[Record]:
    """Each kind of layer and pass: lowest, median and highest speed-up at every fraction."""
    return [
        {
            "kind": group[0]["kind"],
            "pass": _pass(group[0]),
            "count": len(group),
            "levels": _spreads(group),
        }
        for group in grouped(records, "kind", "pass", "variant")
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Speed-up: time of PyTorch's dense kernel (oneDNN on channels-last tensors; a matrix "
        "product for linear layers) over the time of zero-skip, both interleaved; medians. Random "
        "zeros, in the input or in the gradient of the output. The mask of the input is made in "
        "FWD, that of the gradient in BWI, both included there; the other passes reuse them.",
        "needed: the gradient of the input only where the input is not zero, which is what a ReLU "
        "before the layer lets through; behind a batch norm no other zeros are left to BWI.",
        "Chosen: the faster kernel, and a look at the zeros as often as a layer takes one.",
        "Bytes allow: the speed-up over dense at which both operands and the result would pass "
        "through memory, once each, at its measured speed.",
    ]


def _wanted(case: Case, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(pattern in case.layer for pattern in patterns)


def _pass(record: Record) -> str:
    return f"{record['pass']}, {record['variant']}"


def _spreads(group: list[Record]) -> list[Record]:
    """Over the layers of a group, at every fraction of zeros."""
    spreads = []
    for levels in zip(*(record["levels"] for record in group), strict=True):
        values = [level["speedup"]["median"] for level in levels]
        ends = {"low": min(values), "high": max(values)}
        spreads.append(
            {"zeros": levels[0]["zeros"], "speedup": {"median": statistics.median(values)} | ends}
        )
    return spreads


def _at(zeros: float, cell: Callable[[Record], str]) -> Column:
    """A cell of what was measured at a fraction of zeros."""

    def text_of(record: Record) -> str:
        found = (level for level in record["levels"] if level["zeros"] == zeros)
        return next(map(cell, found), text.NOTHING)

    return Column(f"{zeros:.0%}", text_of)


def _speedup(zeros: float) -> Column:
    return _at(zeros, lambda level: text.digits(level["speedup"]["median"]))


def _chosen(zeros: float) -> Column:
    return _at(zeros, lambda level: text.digits(level["chosen_speedup"]))


def _range(zeros: float) -> Column:
    return _at(zeros, lambda level: text.range_of(level["speedup"]))


def _break_even(record: Record) -> str:
    return text.NOTHING if record["break_even"] is None else f"{record['break_even']:.0%}"


LAYER = (Column("layer", lambda r: str(r["layer"])), Column("pass", _pass))
SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Speed-up over dense by kind of layer: median (lowest to highest layer)",
        Column("kind", lambda r: str(r["kind"])),
        Column("pass", lambda r: str(r["pass"])),
        Column("layers", lambda r: text.count(r["count"])),
        *map(_range, ZEROS),
        select=summary,
    ),
    Table(
        "Speed-up over dense of every layer",
        *LAYER,
        *map(_speedup, ZEROS),
        Column("break-even", _break_even),
    ),
    Table(
        "The same with the faster kernel chosen",
        *LAYER,
        *map(_chosen, ZEROS),
    ),
    Table(
        "The dense kernel beside the ceilings",
        *LAYER,
        Column("images", lambda r: text.count(r["images"])),
        Column("dense", lambda r: text.seconds(r["dense_seconds"]["median"])),
        Column("GMAC/s", lambda r: text.digits(r["dense_rate"] / 1e9)),
        Column("ceiling", lambda r: text.digits(r["ceiling"] / 1e9)),
        Column("bytes allow", lambda r: text.ratio(r["bytes_allow"])),
    ),
)
