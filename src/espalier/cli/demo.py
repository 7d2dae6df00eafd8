"""`espalier demo`: train, shape, compact and run a network on bundled data, step by step."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import espalier as esp
from espalier.cli import format
from espalier.cli.arrays import check_target
from espalier.cli.challenge import challenge
from espalier.cli.console import (
    FAILED,
    print_facts,
    print_json,
    print_nothing,
    print_text,
    progress,
)
from espalier.cli.options import Json
from espalier.cli.picture import require_matplotlib, save_picture
from espalier.cli.training_table import print_epoch, print_networks

if TYPE_CHECKING:
    from espalier.training import EpochMetrics, Settings, TrainingResult

MODEL = "mlp:512-256"
TARGET_TIME = 0.25
LINES_EVERY = 4  # epochs
RUNS = 5  # of the inference engine; the first one warms up

app = typer.Typer(invoke_without_command=True)
app.command("challenge")(challenge)


@app.callback()
def demo(
    context: typer.Context,
    epochs: Annotated[int, typer.Option(min=3, help="Of the training.")] = 40,
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("espalier-demo.png"),
    as_json: Json = False,
) -> None:
    """Train a network on digits, shape it with FSSL, compact it, run it, and say what was gained.

    `espalier demo challenge` shows the Sparse DNN Graph Challenge instead.
    """
    if context.invoked_subcommand is not None:
        return
    check_target(output)
    require_matplotlib()
    from espalier import training

    say = print_nothing if as_json else print_text
    settings = training.Settings(model=MODEL, target_time=TARGET_TIME, epochs=epochs, threads=1)
    say(
        f"A network {MODEL} learns scikit-learn's 1,797 handwritten digits, first dense. Then FSSL "
        "removes neurons and pixels by what they cost in time and in error, until the network "
        f"takes {TARGET_TIME:.0%} of its time. What is left is cut out and fine-tuned ..."
    )
    result = training.train(settings, watch=progress, on_epoch=partial(_print_some, epochs=epochs))
    say("The compact network as the inference engine runs it, beside PyTorch ...")
    run = _infer(result, settings)
    save_picture(result, output)
    if as_json:
        print_json({**result.to_json(), "inference": run, "picture": str(output)})
    else:
        _print_tables(result, run, output)
    if not (result.target_met and run["same_answers"]):
        raise typer.Exit(FAILED)


def _print_some(metrics: EpochMetrics, *, epochs: int) -> None:
    if metrics.epoch % LINES_EVERY == 0:
        print_epoch(metrics, epochs=epochs)


def _infer(result: TrainingResult, settings: Settings) -> dict[str, Any]:
    """Run the compact network over the test digits with the inference engine and with PyTorch."""
    import torch

    from espalier import training

    digits = training.load_data(settings.data, seed=settings.seed).test
    with torch.inference_mode():
        expected = result.model(digits.images).argmax(1).numpy()
    samples = digits.images.flatten(1).numpy()
    plan = esp.compile(esp.Network.from_torch(result.model), threads=settings.threads)
    runs = [plan.run(samples) for _ in range(RUNS)][1:]
    found = runs[-1].activations.argmax(axis=1)
    return {
        "digits": len(samples),
        "connections": plan.network.connections,
        "seconds": statistics.median(run.seconds for run in runs),
        "errors": int((found != digits.labels.numpy()).sum()),
        "same_answers": bool((found == expected).all()),
    }


def _print_tables(result: TrainingResult, run: dict[str, Any], output: Path) -> None:
    print_networks(
        f"{result.settings.model} on digits; times of a batch of {result.batch}",
        result.dense,
        result.compact,
        time=result.settings.time,
    )
    same = "the same answers as" if run["same_answers"] else "OTHER answers than"
    print_facts(
        "what was gained",
        {
            "inference engine": f"{format.count(run['digits'])} digits through "
            f"{format.count(run['connections'])} connections in {format.seconds(run['seconds'])}, "
            f"{same} PyTorch",
            "wrong digits": f"{run['errors']} of {run['digits']}",
            "picture": str(output),
        },
        verdict=result.verdict(),
    )
