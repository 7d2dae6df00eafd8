"""`espalier demo challenge`: the Graph Challenge without a download, step by step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import espalier as esp
from espalier.cli import format
from espalier.cli.arrays import dense
from espalier.cli.console import (
    FAILED,
    print_facts,
    print_json,
    print_nothing,
    print_shortcuts,
    print_text,
    progress,
)
from espalier.cli.expected_categories import compare
from espalier.cli.options import Json

NEURONS, LAYERS = 1024, 120
SCIPY_SAMPLES = 2_000


@dataclass(frozen=True)
class Run:
    """The categories that one run of the network found, and the seconds it took."""

    samples: int
    categories: NDArray[np.int64]
    compiling: float
    running: float
    result: Any = None

    @property
    def pace(self) -> float:
        """Samples per second of running."""
        return self.samples / self.running

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON values."""
        return {
            "samples": self.samples,
            "categories": len(self.categories),
            "compile_seconds": self.compiling,
            "run_seconds": self.running,
            "samples_per_second": self.pace,
        }


def challenge(
    samples: Annotated[
        int, typer.Option(min=1, help="Digits to run; the challenge has 60000.")
    ] = 60_000,
    as_json: Json = False,
) -> None:
    """Run the Graph Challenge with and without shortcuts, and check it against scipy."""
    say = print_nothing if as_json else print_text
    say(
        f"A network of {LAYERS} layers of {NEURONS:,} neurons, built as in the Sparse DNN Graph "
        f"Challenge, reads {samples:,} handwritten digits (scikit-learn's, shifted and resized). "
        "The answer is which of them still excite a neuron after the last layer."
    )
    net = esp.radixnet(neurons=NEURONS, layers=LAYERS, seed=0)
    with progress("making digits", "digits") as update:
        digits = esp.challenge_images(NEURONS, samples, seed=0, progress=update)

    say("Computing every connection of every layer for every digit ...")
    full = _espalier(net, digits, shortcuts=False)
    say(
        "Again with the shortcuts espalier can prove for this network: equal neurons merged, dead "
        "and equal rows computed once, work stopped at a fixed point ..."
    )
    quick = _espalier(net, digits, shortcuts=True)
    if not as_json:
        print_shortcuts(quick.result.report())
    few = min(samples, SCIPY_SAMPLES)
    say(f"{few:,} of the digits with scipy, to compare ...")
    peer = _scipy(net, digits[:few])

    among_few = quick.categories[quick.categories < few]
    passed = (
        compare(quick.categories, full.categories, samples).passed
        and compare(among_few, peer.categories, few).passed
    )
    if as_json:
        runs = {"all_shortcuts": quick, "no_shortcuts": full, "scipy": peer}
        print_json(
            {
                "connections": net.connections,
                "rate": quick.result.rate,
                "runs": {name: run.to_dict() for name, run in runs.items()},
                "report": quick.result.report().to_dict(),
                "passed": passed,
            }
        )
    else:
        _print_table(net, full, quick, peer, passed)
    if not passed:
        raise typer.Exit(FAILED)


def _espalier(net: esp.Network, digits: Any, *, shortcuts: bool) -> Run:
    plan = esp.compile(net, merge=shortcuts, fold=shortcuts, fixed_point=shortcuts)
    with progress("running", "steps") as update:
        result = plan.run(digits, "unique" if shortcuts else "none", progress=update)
    return Run(digits.shape[0], result.categories, plan.compile_seconds, result.seconds, result)


def _scipy(net: esp.Network, digits: Any) -> Run:
    """The challenge's rules on a dense batch, with scipy's CSR product; the loop alone is timed."""
    batch = dense(digits).T
    layers = list(net)
    started = time.perf_counter()
    for layer in layers:
        batch = layer.weights @ batch
        batch += layer.bias[:, None]
        np.clip(batch, 0.0, layer.clip, out=batch)
    running = time.perf_counter() - started
    return Run(digits.shape[0], np.flatnonzero(batch.any(axis=0)), 0.0, running)


def _print_table(net: esp.Network, full: Run, quick: Run, peer: Run, passed: bool) -> None:
    print_facts(
        "the Graph Challenge on this machine",
        {
            "connections": format.count(net.connections),
            "digits": format.count(quick.samples),
            "categories": format.count(len(quick.categories)),
            "compile": format.seconds(quick.compiling),
            "run, all shortcuts": _row(quick),
            "run, no shortcuts": _row(full),
            f"scipy, {format.count(peer.samples)} digits": _row(peer),
            "nominal rate": format.quantity(quick.result.rate, "connections/s"),
        },
        verdict=(
            "PASSED: all three found the same categories"
            if passed
            else "FAILED: the three runs found different categories"
        ),
    )


def _row(run: Run) -> str:
    return f"{format.seconds(run.running)}, {format.quantity(run.pace, 'digits/s')}"
