"""Section `ranks`: exchanges, inference and training on real processes of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.harness import text
from benchmarks.harness.process import environment
from benchmarks.harness.section import Column, Job, Record, Section, Table, skipped
from benchmarks.partition.settings import EXCHANGED, Settings
from espalier.distributed.comm import launch
from espalier.errors import EspalierError, MissingExtraError
from espalier.progress import Watch
from espalier.timing.spread import Spread

PROGRAM = ("-m", "benchmarks.partition.on_ranks")
# launch() writes where the standard output of its process goes: it gets a process of its own.
LAUNCHER = (
    "import sys; from espalier.distributed.comm.launch import launch; "
    f"sys.exit(launch([sys.argv[2]], int(sys.argv[1]), threads=1, program={PROGRAM!r}))"
)


def jobs(settings: Settings) -> list[Job]:
    """Exchanges of some sizes, then inference, then training."""
    size = {"neurons": settings.wide, "layers": settings.deep, "batch": settings.batch}
    works: list[tuple[str, dict[str, Any]]] = [
        (f"exchange of {floats:,} floats", {"what": "exchange", "floats": floats})
        for floats in EXCHANGED
    ]
    for kind, shortcuts in (("radixnet", False), ("radixnet", True), ("random", False)):
        how = "all shortcuts" if shortcuts else "no shortcut"
        name = f"inference, {kind} {settings.wide} x {settings.deep}, {how}"
        works.append((name, {"what": "inference", "kind": kind, "shortcuts": shortcuts, **size}))
    name = f"training step, radixnet {settings.wide} x {settings.deep}"
    works.append((name, {"what": "training", **size}))
    return [partial(_measure, settings, name, task) for name, task in works]


def _measure(settings: Settings, name: str, task: dict[str, Any], watch: Watch) -> list[Record]:
    try:
        launch.find_mpiexec()
        with watch(name, "runs") as progress:
            found = run_on_ranks({**task, "rounds": settings.rounds}, settings.ranks)
            progress(1, 1)
    except (EspalierError, MissingExtraError) as error:
        return [skipped(name, task["what"], error)]
    seconds = {who: Spread(tuple(rounds)) for who, rounds in found["seconds"].items()}
    alone = seconds.get("alone")
    return [
        {
            "network": name,
            "name": who,
            "ranks": settings.ranks,
            "seconds": spread.to_dict(),
            "speedup": None if alone is None else alone.over(spread).to_dict(),
            "words": found.get("words", {}).get(who),
            "predicted": found.get("predicted", {}).get(who),
        }
        for who, spread in seconds.items()
    ]


def run_on_ranks(task: dict[str, Any], ranks: int) -> dict[str, Any]:
    """What rank 0 of `on_ranks` answers.

    Raises:
        EspalierError: the ranks failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, str(ranks), json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["they said nothing"]
        raise EspalierError(f"the ranks ended with exit code {done.returncode}: {said[0]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _milliseconds(spread: dict[str, Any]) -> str:
    """With microseconds, for exchanges."""
    median, low, high = (f"{1e3 * spread[name]:,.3f}" for name in ("median", "low", "high"))
    return f"{median} ms ({low} to {high})"


COLUMNS = (
    Column("work", lambda r: str(r["network"])),
    Column("ranks", lambda r: str(r["ranks"])),
    Column("how", lambda r: str(r["name"])),
    Column("time", lambda r: _milliseconds(r["seconds"])),
    Column(
        "predicted", lambda r: "-" if r["predicted"] is None else f"{1e3 * r['predicted']:,.3f} ms"
    ),
    Column("against one process", lambda r: text.ratios(r["speedup"])),
    Column("words sent", lambda r: text.count(r["words"])),
)


def _notes(settings: Settings, records: list[Record]) -> list[str]:
    return [
        f"One process has one thread, and so has every rank; a batch of {settings.batch}. Parts: "
        "every rank holds some rows of every layer; replicas: every rank holds the network and "
        "takes a share of the batch. They take turns with the one process, whose cores the others "
        "leave alone meanwhile.",
        "An exchange: every rank gives every other so many floats, packing and placing included, "
        "called from Python. Words sent: in inference by all ranks and for all samples, in "
        "training by rank 0 for one sample forward. Predicted: by the simulator, from latency and "
        "bandwidth of exchanges in the same run and the rate of the one process.",
    ]


SECTION: Section[Settings] = Section(
    "ranks",
    jobs,
    _notes,
    Table(
        "Ranks of this machine",
        *COLUMNS,
    ),
)
