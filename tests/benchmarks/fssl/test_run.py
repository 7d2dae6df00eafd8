"""Every section on a tiny network: what is measured, written and said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fssl.benchmark import FSSL as BENCHMARK
from benchmarks.fssl.claims_size import weights_target, zeros_target
from benchmarks.fssl.methods import FSSL, MAGNITUDE, METHODS, SCRATCH, SSL, WIDTH
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trial_trainer import TrialTrainer
from benchmarks.harness.report import Report
from espalier import InputError
from espalier.errors import TrainingError


def records_of(report: Report, section: str) -> list[dict]:
    (answer,) = [answer for answer in report.answers if answer.section.name == section]
    assert report.notes(answer)
    return answer.records


def test_every_method_is_compared(tiny: Settings, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = BENCHMARK.run(tiny, ["pareto"], output=tmp_path)
    records = records_of(report, "pareto")
    assert [record["method"] for record in records] == [*METHODS] * 2
    by_method = {record["method"]: record for record in records if record["seed"] == 0}
    assert by_method["dense"]["error"] < 0.3
    assert all(
        by_method[method]["weights"] < 0.6 * by_method["dense"]["weights"]
        for method in (FSSL, SCRATCH, WIDTH)
    )
    assert by_method[SCRATCH]["widths"] == by_method[FSSL]["widths"]
    assert by_method[MAGNITUDE]["nonzeros"] == by_method[MAGNITUDE]["weights"]
    for record in records:
        for kind in ("predicted", "seconds", "speedup"):
            assert set(record[kind]) == set(map(str, tiny.forward_threads))
    titles = {title for title, _, rows in report.tables() if len(rows) == len(METHODS)}
    assert titles == {"Error and size", "Error and time of a forward pass"}
    for name in ("fssl-weights.png", "fssl-time.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "fssl.json").read_text())
    assert written == json.loads(report.to_json())
    assert written["settings"]["runs"] is None, "no path of this machine"


def test_a_training_that_fails_is_skipped_by_name(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TrialTrainer.train

    def fail(self: TrialTrainer, trial: Trial, *rest: Any) -> Any:
        if trial.method == SSL:
            raise TrainingError("the loss is nan")
        return train(self, trial, *rest)

    monkeypatch.setattr(TrialTrainer, "train", fail)
    report = BENCHMARK.run(replace(tiny, seeds=1, methods=(SSL,)), ["pareto"])
    dense, skipped = records_of(report, "pareto")
    assert dense["method"] == "dense" and "the loss is nan" in skipped["skipped"]
    assert any(
        "SSL, sub-gradient, strength 0.05, seed 0" in n for n in report.notes(report.answers[0])
    )


def test_claims_are_measured_and_not_judged_on_digits(tiny: Settings) -> None:
    report = BENCHMARK.run(tiny, ["claims"])
    records = records_of(report, "claims")
    kinds = [record["claim"].partition(":")[0].partition(",")[0] for record in records]
    threads = len(tiny.forward_threads)
    assert kinds.count("structured") == kinds.count("structured and CSR") == 2
    assert kinds.count("compact over unstructured") == 2 * threads
    assert kinds.count("compact over dense") == 2 * threads
    assert [record["holds"] for record in records] == [None] * len(records)
    shares = [record["share"] for record in records if "share" in record]
    assert len(shares) == 2 and all(0.0 < share < 1.0 for share in shares)
    budget = records[0]["weights"]["mean"]
    assert budget <= 26_000 / 266_200 * 1336
    ((_, header, rows),) = report.tables()
    assert header == ["claim", "aimed", "found", "holds"] and len(rows) == len(records)


def test_predictions_are_compared_with_times(tiny: Settings) -> None:
    records = records_of(BENCHMARK.run(tiny, ["time"]), "time")
    assert [record["threads"] for record in records] == list(tiny.forward_threads)
    for record in records:
        assert 0.0 <= record["layers"]["median"] <= record["layers"]["worst"]
        assert record["measured"][0]["widths"] == [784, 8]
        assert all(each["measured"] > 0.0 for each in record["measured"])


def test_goals_of_the_claims() -> None:
    assert weights_target(26_000).value * 266_200 == pytest.approx(26_000)
    kept = round((1.0 - zeros_target(56).value) * 266_200)
    assert 266_200 / kept >= 56.0


def test_unknown_names_and_numbers_are_refused(tiny: Settings) -> None:
    with pytest.raises(InputError, match="section is 'speed', wanted one of pareto, claims, step"):
        BENCHMARK.run(tiny, ["speed"])
    with pytest.raises(InputError, match="method is 'l0', wanted one of dense, width"):
        Settings(methods=("l0",))
    with pytest.raises(InputError, match=r"times holds 1.5, wanted parts between 0 and 1"):
        Settings(times=(1.5,))
    with pytest.raises(InputError, match="seeds is 0, wanted at least 1"):
        Settings(seeds=0)
    with pytest.raises(InputError, match="epochs is 2, wanted at least 3"):
        BENCHMARK.run(replace(tiny, epochs=2), ["pareto"])


def test_quick_settings_measure_less() -> None:
    usual, quick = Settings(), Settings().quick()
    assert quick.seeds < usual.seeds and quick.epochs < usual.epochs
    assert len(quick.times) == len(quick.zeros) == len(quick.strengths) == 1
    assert not quick.lenet5_times and set(BENCHMARK.sections) == {
        "pareto",
        "claims",
        "step",
        "time",
    }
