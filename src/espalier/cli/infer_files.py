"""What `espalier infer` reads and where its results go, on one process and on several."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

import espalier as esp
from espalier import files
from espalier.cli.arrays import ENDINGS, check_target, save_batch
from espalier.cli.console import FAILED, progress
from espalier.cli.expected_categories import Verdict, compare
from espalier.cli.sources import open_inputs, open_network, parse_inputs, parse_network


@dataclass(frozen=True)
class Problem:
    """A network and its inputs, with the arguments of the command line that named them."""

    network_source: str
    inputs_source: str
    network: esp.Network
    samples: Any
    load_seconds: float

    @classmethod
    def read(cls, network_source: str, inputs_source: str, **options: Any) -> Problem:
        """Load or generate both.

        Arguments:
            options: what a text file does not say: bias, clip, neurons, layers.
        """
        network_at, inputs_at = parse_network(network_source), parse_inputs(inputs_source)
        started = time.perf_counter()
        with progress("reading layers", "layers") as update:
            network = open_network(network_at, **options, progress=update)
        unit = "bytes" if isinstance(inputs_at, Path) else "images"
        with progress("reading inputs", unit) as update:
            samples = open_inputs(inputs_at, network.inputs, update)
        seconds = time.perf_counter() - started
        return cls(network_source, inputs_source, network, samples, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Network and inputs as JSON values."""
        return {
            "network": {"source": self.network_source, "layers": len(self.network)},
            "inputs": {"source": self.inputs_source, "samples": self.samples.shape[0]},
        }


@dataclass(frozen=True)
class Results:
    """Where results go, and what the categories are compared with.

    Arguments:
        expected: 0-based categories; None compares nothing.
        categories: file to write them to.
        activations: file to write the last layer's activations to.
    """

    expected: NDArray[np.int64] | None
    categories: Path | None
    activations: Path | None
    as_json: bool

    @classmethod
    def prepare(
        cls, truth: Path | None, categories: Path | None, activations: Path | None, as_json: bool
    ) -> Results:
        """Check the targets before anything takes time, and read the expected categories."""
        if categories is not None:
            check_target(categories)
        if activations is not None:
            check_target(activations, ENDINGS)
        return cls(
            None if truth is None else files.load_categories(truth),
            categories,
            activations,
            as_json,
        )

    @property
    def wants_csr(self) -> bool:
        """Whether the file of the activations keeps them sparse."""
        return self.activations is not None and self.activations.suffix == ".npz"

    def verdict(self, found: NDArray[np.int64], samples: int) -> Verdict | None:
        """How the categories compare with those that were expected."""
        return None if self.expected is None else compare(found, self.expected, samples)

    def save(self, categories: NDArray[np.int64], activations: Any) -> None:
        """Write the files that were asked for."""
        if self.categories is not None:
            files.save_categories(categories, self.categories)
        if self.activations is not None:
            save_batch(self.activations, activations)


def fail_unless_passed(verdict: Verdict | None) -> None:
    """End with exit code 1 where categories differ from the expected ones."""
    if verdict is not None and not verdict.passed:
        raise typer.Exit(FAILED)
