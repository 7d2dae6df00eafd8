"""Section `networks`: training the convolutions of a network at the published zeros."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table
from benchmarks.sparsetrain.operands import dense_operands
from benchmarks.sparsetrain.pass_times import Candidate, images_per_call, time_pass
from benchmarks.sparsetrain.published import FIXUP_NOTE, NETWORKS, PublishedLayer
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import PASSES, Pass
from espalier.progress import Watch

NAME = "networks"
Measured = dict[Any, Record]


def jobs(settings: Settings) -> list[Job]:
    """One network each; equal layers with equal zeros are measured once."""
    measured: Measured = {}
    return [partial(measure, settings, name, measured) for name in settings.networks]


def measure(settings: Settings, name: str, measured: Measured, watch: Watch) -> list[Record]:
    """The record of one network: seconds per image of every layer and pass, and their sums."""
    network = NETWORKS[name]
    layers = []
    with watch(f"{name}: layers", "passes") as progress:
        for index, layer in enumerate(network.layers):
            for done, pass_ in enumerate(PASSES, start=len(PASSES) * index):
                progress(done, len(PASSES) * len(network.layers))
                layers.append(_measure_once(layer, pass_, settings, measured))
    sums = {
        pass_: _sums([candidate for candidate in layers if candidate["pass"] == pass_])
        for pass_ in PASSES
    }
    return [
        {
            "network": name,
            "multiply_adds": network.multiply_adds,
            "passes": sums,
            "all": _sums(layers),
            "published_speedup": network.speedup,
            "bound": network.bound(needed=False),
            "bound_with_needed": network.bound(needed=True),
            "layers": layers,
        }
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        "Seconds per image of the three passes of all convolutions but the first, each at its "
        "published mean zeros, placed at random; FWD and BWI include making the masks that later "
        "passes reuse. Every layer and pass takes the fastest of dense and the ways to skip, and "
        "looks at its zeros as often as espalier's layers do.",
        "Bounds: every zero saves its work; the second lets BWI compute only where the ReLU before "
        "the layer was positive, which the paper did not do.",
        "The paper's figures are from a 6-core Skylake-X against MKL-DNN's direct convolution.",
        FIXUP_NOTE,
    ]


def _measure_once(
    layer: PublishedLayer, name: Pass, settings: Settings, measured: Measured
) -> Record:
    key = (layer.shape, name, tuple(layer.zeros(name).items()))
    if key not in measured:
        measured[key] = _measure(layer, name, settings)
    return {"layer": layer.name} | measured[key]


def _measure(layer: PublishedLayer, name: Pass, settings: Settings) -> Record:
    shape, images = layer.shape, images_per_call(layer.shape, settings)
    rng = np.random.default_rng(0)
    dense = dense_operands(shape, images, rng)
    candidates: dict[str, Candidate] = {
        variant: Candidate(variant, dense.with_zeros(zeros, variant, rng))
        for variant, zeros in layer.zeros(name).items()
    }
    times = time_pass(shape, name, dense, candidates, settings)
    fastest = min(candidates, key=lambda candidate: times.skips[candidate].median)
    pays = times.skips[fastest].median < times.dense.median
    return {
        "shape": shape.label,
        "pass": name,
        "zeros": layer.zeros(name),
        "images": images,
        "dense_seconds": times.dense.median / images,
        "skip_seconds": {
            candidate: times.skips[candidate].median / images for candidate in candidates
        },
        "chosen": fastest if pays else "dense",
        "chosen_seconds": times.chosen_seconds(fastest) / images,
    }


def _sums(layers: list[Record]) -> Record:
    dense, chosen = (
        sum(layer[key] for layer in layers) for key in ("dense_seconds", "chosen_seconds")
    )
    return {"dense_seconds": dense, "chosen_seconds": chosen, "speedup": dense / chosen}


def _pass(name: str) -> Column:
    return Column(name, lambda r: text.ratio(r["passes"][name]["speedup"]))


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Training the convolutions at the published zeros, seconds per image",
        Column("network", lambda r: str(r["network"])),
        Column("GMAC per pass", lambda r: text.digits(r["multiply_adds"] / 1e9)),
        Column("dense", lambda r: text.seconds(r["all"]["dense_seconds"])),
        Column("chosen", lambda r: text.seconds(r["all"]["chosen_seconds"])),
        *map(_pass, PASSES),
        Column("all passes", lambda r: text.ratio(r["all"]["speedup"])),
        Column("paper", lambda r: text.ratio(r["published_speedup"])),
        Column("bound", lambda r: text.ratio(r["bound"])),
        Column("bound, needed only", lambda r: text.ratio(r["bound_with_needed"])),
    ),
)
