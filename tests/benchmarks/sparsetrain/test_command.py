"""`python -m benchmarks sparsetrain` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ONE = ("--layer", "512>512, 64", "--rounds", "1", "--threads", "1")


def test_json_on_standard_output(benchmarks) -> None:
    outcome = benchmarks("sparsetrain", "layers", *ONE, "--quick", "--json")
    report = json.loads(outcome.stdout)
    assert set(report["sections"]) == {"layers"} and report["machine"]["threads"] == 1
    records = report["sections"]["layers"]["records"]
    assert {record["layer"] for record in records} == {"linear 512>512, 64 rows"}


def test_tables_on_the_terminal_and_in_a_folder(benchmarks, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = benchmarks("sparsetrain", "layers", *ONE, "--output", tmp_path)
    assert outcome.returncode == 0 and "Speed-up over dense" in outcome.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "sparsetrain.json",
        "sparsetrain.md",
        "sparsetrain-layers.png",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speed",), "section is 'speed', wanted one of layers, networks, replay, steps"),
        (("--network", "VGG19"), "network is 'VGG19', wanted one of VGG16"),
        (("layers", "--layer", "9x9"), "no layer's name contains"),
    ],
)
def test_bad_arguments(benchmarks, arguments: tuple[str, ...], message: str) -> None:
    outcome = benchmarks("sparsetrain", *arguments)
    assert outcome.returncode == 2 and message in outcome.stderr
