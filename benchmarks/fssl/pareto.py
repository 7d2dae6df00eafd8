"""Section `pareto`: every method at several sizes, by error, weights and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

from benchmarks.fssl.backends import predicted_seconds
from benchmarks.fssl.forward import batch_of, time_forward
from benchmarks.fssl.methods import DENSE, METHODS
from benchmarks.fssl.seeds import over_seeds, percent
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trials import TrialResult, Trials, methods_of, targets_of, trial, trials_of
from benchmarks.harness import text
from benchmarks.harness.section import Column, Job, Record, Section, Table, grouped, skipped
from espalier.errors import TrainingError
from espalier.progress import Watch

NAME = "pareto"


def jobs(settings: Settings) -> list[Job]:
    """One for each seed."""
    trials = trials_of(settings)
    return [partial(measure, settings, trials, seed) for seed in range(settings.seeds)]


def measure(settings: Settings, trials: Trials, seed: int, watch: Watch) -> list[Record]:
    """Train every method at every target, then time all networks of this seed interleaved."""
    made: list[TrialResult] = []
    failures: list[Record] = []
    for method in methods_of(settings):
        for target in targets_of(settings, method):
            requested = trial(settings, method, target, seed)
            try:
                made.append(trials.make(requested, watch))
            except TrainingError as failure:
                failures.append(skipped(settings.model, requested.label, failure))
    dense = next((each for each in made if each.trial.method == DENSE), None)
    timed = [] if dense is None else _timed(settings, trials, made, dense, watch)
    return [*timed, *failures]


def _timed(
    settings: Settings,
    trials: Trials,
    made: Sequence[TrialResult],
    dense: TrialResult,
    watch: Watch,
) -> list[Record]:
    records = {each.name: _record(each) for each in made}
    models = {each.name: each.model() for each in made}
    context = trials.trainer.context(dense.trial, watch)
    start = context.start
    images = batch_of(context.data.test.images, settings.batch)
    for threads in settings.forward_threads:
        times = trials.trainer.times(dense.trial, threads, watch)
        seconds = time_forward(models, images, threads=threads, rounds=settings.rounds, watch=watch)
        for name, record in records.items():
            spent = seconds[name]
            record["predicted"][str(threads)] = predicted_seconds(models[name], start, times)
            record["seconds"][str(threads)] = spent.to_dict()
            record["speedup"][str(threads)] = seconds[dense.name].over(spent).to_dict()
    return list(records.values())


def _record(made: TrialResult) -> Record:
    target = made.trial.target
    said = {name: value for name, value in made.figures.items() if name not in ("kept", "seconds")}
    return {
        "network": made.trial.model,
        "method": made.trial.method,
        "goal": None if target is None else target.label,
        "seed": made.trial.seed,
        **said,
        "training_seconds": made.figures["seconds"],
        "predicted": {},
        "seconds": {},
        "speedup": {},
    }


def by_method_and_goal(records: Sequence[Record]) -> list[Record]:
    """A record for each method and target, with the means over its seeds."""
    return [_over_seeds(group) for group in grouped(records, "method", "goal")]


def _over_seeds(records: Sequence[Record]) -> Record:
    first = records[0]

    def mean(name: str) -> float:
        return fmean(record[name] for record in records)

    def by_threads(read: Callable[[Record, str], float]) -> dict[str, float]:
        return {each: fmean(read(record, each) for record in records) for each in first["seconds"]}

    widths = [record["widths"] for record in records]
    counts = ("weights", "nonzeros", "of_weights", "bytes", "multiply_adds", "training_seconds")
    return {
        "method": first["method"],
        "goal": first["goal"],
        "error": over_seeds([record["error"] for record in records]),
        "widths": [round(fmean(each)) for each in zip(*widths, strict=True)],
        **{name: mean(name) for name in counts},
        "predicted": by_threads(lambda record, each: float(record["predicted"][each])),
        "seconds": by_threads(lambda record, each: float(record["seconds"][each]["median"])),
        "speedup": by_threads(lambda record, each: float(record["speedup"][each]["median"])),
    }


def notes(settings: Settings, records: list[Record]) -> list[str]:
    """How it was measured."""
    said = [
        f"{METHODS[method].label}: {METHODS[method].description}."
        for method in methods_of(settings)
    ]
    data = "the digits of scikit-learn" if settings.mnist is None else "MNIST"
    return [
        f"{settings.model} on {data}, {settings.seeds} seeds, {settings.epochs} epochs of every "
        "method, all phases together, one recipe for all; error: of the test images after the last "
        "epoch, mean and standard deviation; all other figures are means over the seeds.",
        "Methods that prune train the dense network first, then prune, then fine-tune, and learn "
        "from the dense network meanwhile. Small networks that are trained from the start learn "
        "from the same dense network, whose epochs are not counted as theirs. Weights are those "
        "stored, biases not counted.",
        f"Times: one forward pass of {settings.batch} images on one and two threads, all networks "
        "of a seed interleaved; predicted by the time model of the dense network.",
        *said,
    ]


def _seconds(name: str, kind: str, threads: int) -> Column:
    return Column(f"{name}, {threads} thr.", lambda r: text.seconds(r[kind].get(str(threads))))


def _speedup(threads: int) -> Column:
    return Column(
        f"over dense, {threads} thr.", lambda r: text.ratio(r["speedup"].get(str(threads)))
    )


CASE = (
    Column("method", lambda r: METHODS[r["method"]].label),
    Column("goal", lambda r: r["goal"] or text.NOTHING),
    Column("error", lambda r: percent(r["error"])),
)
SECTION: Section[Settings] = Section(
    NAME,
    jobs,
    notes,
    Table(
        "Error and size",
        *CASE,
        Column("units", lambda r: "-".join(map(str, r["widths"]))),
        Column("weights", lambda r: text.count(round(r["weights"]))),
        Column("non-zeros", lambda r: text.count(round(r["nonzeros"]))),
        Column("zeros", lambda r: f"{1.0 - r['nonzeros'] / r['of_weights']:.1%}"),
        Column("bytes", lambda r: text.count(round(r["bytes"]))),
        Column("MACs", lambda r: text.count(round(r["multiply_adds"]))),
        select=by_method_and_goal,
    ),
    Table(
        "Error and time of a forward pass",
        *CASE,
        *(
            column
            for threads in (1, 2)
            for column in (
                _seconds("predicted", "predicted", threads),
                _seconds("measured", "seconds", threads),
                _speedup(threads),
            )
        ),
        Column("training", lambda r: text.seconds(r["training_seconds"])),
        select=by_method_and_goal,
    ),
)
