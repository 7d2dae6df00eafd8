"""`python -m benchmarks challenge` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.gpu import emulated_gpu

TINY = ("--network", "256x4", "--inputs", "digits:80", "--rounds", "1", "--threads", "1")


def test_json_on_standard_output(benchmarks) -> None:
    outcome = benchmarks("challenge", "--section", "ceiling", *TINY, "--json")
    report = json.loads(outcome.stdout)
    record, alive = report["sections"]["ceiling"]["records"]
    assert alive["batch"].startswith("all alive")
    assert (record["neurons"], record["layers"], record["samples"]) == (256, 4, 80)


def test_tables_on_the_terminal_and_in_a_folder(benchmarks, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    outcome = benchmarks("challenge", *TINY, "--samples", 50, "--output", tmp_path)
    assert outcome.returncode == 0
    words = " ".join(outcome.stdout.split())
    assert "All shortcuts: time" in words and "share of the multiply" in words
    assert {path.name for path in tmp_path.iterdir()} == {
        f"challenge.{ending}" for ending in ("md", "json", "png")
    }
    report = json.loads((tmp_path / "challenge.json").read_text())
    assert set(report["sections"]) == {"shortcuts", "ceiling"}
    assert report["settings"]["samples"] == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--network", "1024"), "network size is '1024', wanted NEURONSxLAYERS"),
        (("--structureless", "0x4"), "network size is '0x4'"),
        (("--section", "speed"), "section is 'speed', wanted one of"),
        (("--inputs", "digits:many"), "wanted digits or digits:COUNT"),
        (("--memory", "much"), "memory size is 'much'"),
    ],
)
def test_bad_arguments(benchmarks, arguments: tuple[str, str], message: str) -> None:
    outcome = benchmarks("challenge", *arguments)
    assert outcome.returncode == 2 and message in outcome.stderr


def test_unknown_devices_are_bad_input(benchmarks) -> None:
    result = benchmarks("challenge", "--device", "tpu")
    assert result.returncode == 2 and "device is 'tpu'" in result.stderr


def test_the_challenge_runs_on_a_gpu(benchmarks, tmp_path: Path) -> None:
    words = ["challenge", "--device", "cuda", "--network", "256x4", "--samples", "30"]
    words += ["--rounds", "1", "--section", "shortcuts", "--output", tmp_path]
    with emulated_gpu():
        result = benchmarks(*words)
    assert result.returncode == 0
    assert (tmp_path / "gpu.md").exists()


@pytest.mark.parametrize(("command", "options"), [("challenge", 6), ("fssl", 4), ("partition", 7)])
def test_help_shows_the_defaults(benchmarks, command: str, options: int) -> None:
    assert benchmarks(command, "--help").stdout.count("[default:") == options


def test_help_speaks_of_trainings_that_go_on_where_there_are_some(benchmarks) -> None:
    assert "go on" in " ".join(benchmarks("fssl", "--help").stdout.split())
    assert "go on" not in " ".join(benchmarks("partition", "--help").stdout.split())
