"""Section `time`: how far predicted times are off, for layers and for whole networks."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fssl.baselines_shape import keep_only
from benchmarks.fssl.settings import Settings
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table
from espalier.fssl import TimeModel, compact, find_groups
from espalier.fssl.latency.measure import clock_of
from espalier.nn.networks import build
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Watch
from espalier.timing.interleave import minimum_seconds

if TYPE_CHECKING:
    from torch import nn

NAME = "time"
SIDE = 28
PARTS = (1.0, 0.8, 0.65, 0.5, 0.5, 0.35, 0.25, 0.15, 0.1)
LAYERS_OFF, NETWORKS_OFF = 0.10, 0.15
ROUNDS = (5, 30)  # timed calls of each network, at least and at most


def jobs(settings: Settings) -> list[Job]:
    """One for each network and number of threads."""
    return [
        partial(measure, settings, name, threads)
        for name in settings.predicted
        for threads in settings.forward_threads
    ]


def measure(settings: Settings, name: str, threads: int, watch: Watch) -> list[Record]:
    """Measure one network's time model anew, then whole networks of drawn widths."""
    import torch

    torch.manual_seed(0)
    batch = settings.predicted_batch
    images = torch.rand(batch, 1, SIDE, SIDE)
    groups = find_groups(_build(name), images[:2])
    label = f"{name}, {threads} threads"
    with tempfile.TemporaryDirectory() as folder, watch(f"{label}: layers", "rounds") as progress:
        time = TimeModel.measure(
            groups, batch, threads=threads, progress=progress, folder=Path(folder)
        )
    errors = _held_out(time)
    rng = np.random.default_rng(0)
    widths = [[_part(size, part, rng) for size in groups.full_widths] for part in PARTS]
    models = [_narrow(name, each, images[:2]) for each in widths]
    with torch.inference_mode(), torch_threads(threads), watch(label, "rounds") as progress:
        works: list[Callable[[], object]] = [partial(model, images) for model in models]
        seconds, _ = minimum_seconds(
            works,
            rounds=ROUNDS,
            ratio=1.03,
            slack=1e-6,
            warm_below=2e-3,
            clock=clock_of(threads),
            progress=progress,
        )
    predicted = [time.seconds(each) for each in widths]
    off = [abs(expected / spent - 1.0) for expected, spent in zip(predicted, seconds, strict=True)]
    return [
        {
            "network": name,
            "threads": threads,
            "batch": batch,
            "layers": {"median": statistics.median(errors), "worst": max(errors)},
            "networks": {"median": statistics.median(off), "worst": max(off)},
            "measured": [
                {"widths": each, "predicted": expected, "measured": spent}
                for each, expected, spent in zip(widths, predicted, seconds, strict=True)
            ],
            "holds": statistics.median(errors) <= LAYERS_OFF
            and statistics.median(off) <= NETWORKS_OFF,
        }
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    return [
        f"Batch {settings.predicted_batch}. Layers: predicted against measured at held-out widths "
        "and densities. Networks: at full width and at parts of it from 0.8 to 0.1, drawn anew for "
        "each layer; none of these times was used to fit anything.",
        "One thread is timed by its own clock, two by the clock on the wall, which only a machine "
        "without other work makes comparable.",
        f"Aimed: a median of at most {LAYERS_OFF:.0%} for layers and {NETWORKS_OFF:.0%} for "
        "networks.",
    ]


def _build(name: str) -> nn.Module:
    return build(name, in_channels=1, size=SIDE, num_classes=10).eval()


def _held_out(time: TimeModel) -> list[float]:
    fits = {id(fit): fit for known in time.layers for fit in known.fits.values()}
    return [error for fit in fits.values() for error in fit.errors]


def _part(size: int, part: float, rng: np.random.Generator) -> int:
    return size if part == 1.0 else max(1, round(size * min(1.0, part * rng.uniform(0.7, 1.3))))


def _narrow(name: str, widths: Sequence[int], example: object) -> nn.Module:
    """The network with so many units of each family, inputs spread over the image."""
    model = _build(name)
    groups = find_groups(model, example)
    kept = [
        np.unique(np.linspace(0, units.size - 1, width).round().astype(int)).tolist()
        for units, width in zip(groups.units, widths, strict=True)
    ]
    keep_only(groups, kept)
    return compact(model, groups)


def _share(kind: str, which: str) -> Column:
    return Column(f"{kind}, {which}", lambda r: f"{r[kind][which]:.1%}")


def networks_of(records: Sequence[Record]) -> list[Record]:
    """A record for each network that was timed."""
    return [
        {"network": record["network"], "threads": record["threads"], **each}
        for record in records
        for each in record["measured"]
    ]


CASE = (
    Column("network", lambda r: str(r["network"])),
    Column("threads", lambda r: str(r["threads"])),
)
SECTION: Section[Settings] = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Predicted times: how far they are off",
        *CASE,
        _share("layers", "median"),
        _share("layers", "worst"),
        _share("networks", "median"),
        _share("networks", "worst"),
        Column("holds", lambda r: "yes" if r["holds"] else "no"),
    ),
    Table(
        "Predicted times of whole networks",
        *CASE,
        Column("units", lambda r: "-".join(map(str, r["widths"]))),
        Column("predicted", lambda r: text.seconds(r["predicted"])),
        Column("measured", lambda r: text.seconds(r["measured"])),
        Column("off", lambda r: f"{r['predicted'] / r['measured'] - 1.0:+.1%}"),
        select=networks_of,
    ),
)
