"""Section `claims`: what must be reached, what was found, and whether it holds."""

from __future__ import annotations

from functools import partial

from benchmarks.fssl import claims_size, claims_speed, proximal
from benchmarks.fssl.claim import comparable
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import Trials, trials_of
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from espalier.errors import TrainingError
from espalier.progress import Watch

NAME = "claims"
CLAIMS = {
    "structured": claims_size.structured,
    "structured and CSR": claims_size.with_csr,
    "zeros": claims_size.zeros,
    "speed": claims_speed.speed,
    "LeNet-5": claims_speed.lenet5,
    "proximal step": proximal.share,
}


def jobs(settings: Settings) -> list[Job]:
    """One for each kind of claim; LeNet-5 only with targets for it."""
    trials = trials_of(settings)
    requested = [name for name in CLAIMS if name != "LeNet-5" or settings.lenet5_times]
    return [partial(measure, settings, trials, name) for name in requested]


def measure(settings: Settings, trials: Trials, name: str, watch: Watch) -> list[Record]:
    """Train what a claim is about, and what it is compared with."""
    try:
        return CLAIMS[name](settings, trials, watch)
    except TrainingError as failure:
        return [skipped(settings.model, name, failure)]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    data = "the digits" if settings.mnist is None else "MNIST"
    left_open = (
        []
        if comparable(settings)
        else ["Aims are figures for LeNet-300-100 and LeNet-5 on MNIST: elsewhere none is judged."]
    )
    return [
        f"{settings.model} on {data}, {settings.seeds} seeds, {settings.epochs} epochs; mean and "
        "standard deviation of the test error after the last epoch. A claim holds if the means do.",
        "Equal error: of each kind the fastest network at batch "
        f"{settings.batch} on one thread whose mean error is at most 0.2 points over dense. "
        "Where a kind has none, its most accurate one is shown and the claim does not hold. "
        "Unstructured: global magnitude, no unit cut out, all layers CSR; torch CSR with samples "
        "side by side.",
        *left_open,
    ]


def _verdict(record: Record) -> str:
    return {True: "yes", False: "no", None: text.NOTHING}[record["holds"]]


SECTION: Section[Settings] = Section(
    NAME,
    jobs,
    notes,
    Table(
        "What must be reached",
        Column("claim", lambda r: str(r["claim"])),
        Column("aimed", lambda r: str(r["aimed"])),
        Column("found", lambda r: str(r["found"])),
        Column("holds", _verdict),
    ),
)
