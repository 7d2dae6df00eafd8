"""`python -m benchmarks fssl` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
SMALL = ("--model", "mlp:8", "--epochs", "3", "--threads", "1", "--quick")


def test_a_benchmark_goes_on_where_it_was(benchmarks, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ("fssl", "pareto", *SMALL, "--method", "width", "--output", tmp_path)
    first = benchmarks(*arguments)
    assert first.returncode == 0 and "Error and size" in first.stdout
    kept = tmp_path / "fssl-runs" / "runs.jsonl"
    lines = kept.read_text()
    assert len(lines.splitlines()) == 2, "dense is always there to compare with"
    report = json.loads(benchmarks(*arguments, "--json").stdout)
    assert kept.read_text() == lines
    records = report["sections"]["pareto"]["records"]
    assert [record["method"] for record in records] == ["dense", "width"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("fssl.json", "fssl.md", "fssl-weights.png", "fssl-time.png", "fssl-runs")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speed",), "section is 'speed', wanted one of pareto, claims, step, time"),
        (("--method", "l0"), "method is 'l0', wanted one of dense, width"),
        (("--target-time", "2"), "times holds 2.0, wanted parts between 0 and 1"),
        (("pareto", "--mnist", "nowhere"), "data is 'nowhere', wanted digits or a folder"),
    ],
)
def test_bad_arguments(benchmarks, arguments: tuple[str, ...], message: str) -> None:
    outcome = benchmarks("fssl", *arguments)
    assert outcome.returncode == 2 and message in outcome.stderr
