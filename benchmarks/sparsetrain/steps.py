"""Section `steps`: whole training steps, dense against accelerated, all overheads in."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.harness import text
from benchmarks.harness.alone import measure_alone
from benchmarks.harness.process import peak_memory
from benchmarks.harness.section import Column, Job, Record, Section, Table
from benchmarks.sparsetrain.images import Images
from benchmarks.sparsetrain.settings import SMALL_MODEL, Settings
from benchmarks.sparsetrain.training import Trainer, images_of, train_small
from espalier.progress import Progress, Watch, silent
from espalier.timing.interleave import time_interleaved

NAME = "steps"
DENSE, ACCELERATED = "dense", "accelerated"
# The first step measures what the layers of these shapes cost.
WARM_UPS = 2
MEMORY_STEPS = 3
Starts = dict[str, dict[str, Any] | None]  # parameters by what tables call them


def jobs(settings: Settings) -> list[Job]:
    """Each model; the small one with each batch, from its start and after some training."""
    return [partial(measure, settings, name) for name in settings.models]


def measure(settings: Settings, name: str, watch: Watch) -> list[Record]:
    """A record for each batch and start."""
    if name != SMALL_MODEL:
        return _measure(settings, name, settings.large_batch, {"the start": None}, watch)
    with watch("training the small VGG", "steps") as progress:
        trained = train_small(settings, progress).model.state_dict()
    starts: Starts = {"the start": None, f"step {settings.train_steps}": trained}
    return [
        record
        for batch in settings.batches
        for record in _measure(settings, name, batch, starts, watch)
    ]


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured, and whether the losses agree."""
    source = "scikit-learn's digits" if settings.mnist is None else "MNIST"
    return [
        "A step: batch, forward, loss, backward, SGD with momentum; dense channels-last PyTorch "
        f"and espalier.nn.accelerate interleaved, from the same parameters. {SMALL_MODEL} on "
        f"{source}, the others on noise of 224 x 224 pixels.",
        "Peak memory: a whole process of its own with PyTorch, one batch of noise and the first "
        "steps; in brackets what model and steps add.",
        *(
            f"{record['network']}, batch {record['batch']}, from {record['start']}: the losses of "
            f"{record['steps']} steps differ by at most {record['loss_difference']:.1e} of them."
            for record in records
        ),
    ]


def _measure(
    settings: Settings, name: str, batch: int, starts: Starts, watch: Watch
) -> list[Record]:
    memory = {}
    with watch(f"{name}, batch {batch}: memory", "processes") as progress:
        for done, who in enumerate((DENSE, ACCELERATED), start=1):
            training = partial(training_memory, name, batch, settings.threads, who == ACCELERATED)
            memory[who] = measure_alone(training, name, silent)
            progress(done, 2)
    ratio = memory[ACCELERATED]["peak_bytes"] / memory[DENSE]["peak_bytes"]
    records = []
    for start, state in starts.items():
        with watch(f"{name}, batch {batch}, from {start}", "steps") as progress:
            record = _race(settings, name, batch, state, progress)
        records.append(record | {"start": start, "memory": memory, "memory_ratio": ratio})
    return records


def training_memory(name: str, batch: int, threads: int, accelerated: bool, watch: Watch) -> Record:
    """Most bytes resident in this process, which trains, and how many of them the steps added."""
    import torch

    torch.set_num_threads(threads)
    images = Images.noise(batch, small=name == SMALL_MODEL)
    before = peak_memory()
    trainer = Trainer(name, images, batch, accelerated=accelerated)
    for _ in range(MEMORY_STEPS):
        trainer.step()
    peak = peak_memory()
    return {"peak_bytes": peak, "step_bytes": peak - before}


def _race(
    settings: Settings, name: str, batch: int, state: dict[str, Any] | None, progress: Progress
) -> Record:
    """Both interleaved, each a model of its own."""
    images = images_of(name, settings.mnist)
    trainers = {
        who: Trainer(name, images, batch, state=state, accelerated=who == ACCELERATED)
        for who in (DENSE, ACCELERATED)
    }
    times = time_interleaved(
        {who: trainer.step for who, trainer in trainers.items()},
        rounds=settings.rounds,
        warm_ups=WARM_UPS,
        settle=0.0,
        progress=progress,
    )
    losses = {who: trainer.losses for who, trainer in trainers.items()}
    pairs = zip(losses[DENSE], losses[ACCELERATED], strict=True)
    return {
        "network": name,
        "batch": batch,
        "steps": len(losses[DENSE]),
        "seconds": {who: spread.to_dict() for who, spread in times.items()},
        "speedup": times[DENSE].over(times[ACCELERATED]).to_dict(),
        "losses": losses,
        "loss_difference": max(abs(ours - dense) / max(abs(dense), 1e-6) for dense, ours in pairs),
    }


def _memory(who: str) -> Column:
    def cell(record: Record) -> str:
        memory = record["memory"][who]
        return f"{text.gibibytes(memory['peak_bytes'])} (+{text.gibibytes(memory['step_bytes'])})"

    return Column(f"{who} peak", cell)


SECTION = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Whole training steps",
        Column("network", lambda r: str(r["network"])),
        Column("batch", lambda r: text.count(r["batch"])),
        Column("from", lambda r: str(r["start"])),
        Column("dense", lambda r: text.spread(r["seconds"][DENSE])),
        Column("accelerated", lambda r: text.spread(r["seconds"][ACCELERATED])),
        Column("speed-up", lambda r: text.ratios(r["speedup"])),
        _memory(DENSE),
        _memory(ACCELERATED),
        Column("memory", lambda r: text.ratio(r["memory_ratio"])),
    ),
)
