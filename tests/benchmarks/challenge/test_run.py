"""Every section on tiny networks: what is measured, written and said."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.challenge.benchmark import CHALLENGE
from benchmarks.challenge.settings import Settings, Size
from benchmarks.harness.report import Report
from espalier import InputError, MissingExtraError

TINY = Settings(
    networks=(Size(256, 6),),
    samples=200,
    structureless=(Size(256, 4),),
    batch=64,
    rounds=2,
    threads=1,
    limit=30.0,
)
TABLES = {"shortcuts": 2, "strategies": 2, "peers": 1, "structureless": 1, "ceiling": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    return CHALLENGE.run(TINY, tuple(CHALLENGE.sections), output=folder)


def test_every_section_has_an_answer(report: Report) -> None:
    assert [answer.section.name for answer in report.answers] == list(TABLES)
    for answer in report.answers:
        measured = [record for record in answer.records if "skipped" not in record]
        assert measured and report.notes(answer)
        for record in measured:
            spread = record["seconds"]
            assert len(spread["rounds"]) == record["rounds"] == TINY.rounds
            assert 0.0 < spread["low"] <= spread["median"] <= spread["high"]
            assert record["measured_samples"] == record["samples"]


def test_json_is_the_report(report: Report, folder: Path) -> None:
    written = json.loads((folder / "challenge.json").read_text())
    assert written == json.loads(json.dumps(report.to_dict()))
    assert set(written["sections"]) == set(TABLES)
    assert written["machine"]["threads"] == 1
    assert written["settings"]["networks"] == [[256, 6]]
    assert written["date"].endswith("+00:00") and written["load_average"] >= 0.0
    (shortcuts,) = written["sections"]["shortcuts"]["records"]
    assert shortcuts["connections"] == 32 * 256 * 6
    assert shortcuts["nominal_operations"] == shortcuts["connections"] * 200
    assert shortcuts["effective_operations"] < shortcuts["nominal_operations"]
    assert shortcuts["peak_bytes"] >= shortcuts["peak_bytes_of_inputs"] > 2**20
    assert shortcuts["official_categories"] is shortcuts["best_cpu_over_ours"] is None


def test_markdown_has_every_table_and_the_machine_beside_it(report: Report, folder: Path) -> None:
    page = (folder / "challenge.md").read_text()
    assert page == report.to_markdown()
    assert page.count(f"<sub>{report.conditions}</sub>") == sum(TABLES.values())
    for title, header, rows in report.tables():
        assert f"**{title}**" in page
        assert f"| {' | '.join(header)} |" in page
        assert all(f"| {' | '.join(row)} |" in page for row in rows)
    assert report.machine.processor in page and "load average" in page


def test_the_plot_is_a_picture(report: Report, folder: Path) -> None:
    picture = (folder / "challenge.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and len(picture) > 10_000


def test_strategies_and_peers_run_in_all_their_settings(report: Report) -> None:
    records = {answer.section.name: answer.records for answer in report.answers}
    assert [record["strategy"] for record in records["strategies"]] == [
        "buffer",
        "no-buffer",
        "filter",
    ]
    peers = [record for record in records["peers"] if record.get("peer")]
    assert {record["filter"] for record in peers} == {"zero", "none"}
    for record in peers:
        assert record["over_all_shortcuts"]["median"] > 0.0 < record["over_same_rules"]["median"]
    assert {record["peer"] for record in peers} >= {"scipy CSR", "scipy SpGEMM"}
    for record in records["structureless"]:
        if "skipped" not in record:
            assert record["multiply_adds"] == 32 * 256 * 4 * 64
            assert record["share_of_peak"]["median"] > 0.0


def test_ceiling_counts_live_samples_only(report: Report) -> None:
    (ceiling,) = [answer for answer in report.answers if answer.section.name == "ceiling"]
    for record in ceiling.records:
        assert 0 < record["live_operations"] <= record["effective_operations"]


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "graphblas"):
        monkeypatch.setitem(sys.modules, module, None)
    page = CHALLENGE.run(TINY, ["structureless"]).to_markdown()
    for name in ("torch CSR", "GraphBLAS"):
        assert f"Skipped: 256x4, {name}: the peer {name} needs" in page
    assert "pip install 'matplotlib" in page and "scipy CSR" in page


def test_no_peers_means_none() -> None:
    settings = replace(TINY, peers=False)
    (answer,) = CHALLENGE.run(settings, ["structureless"]).answers
    assert [record["name"] for record in answer.records] == ["espalier"]


def test_a_network_too_large_for_this_machine_is_skipped() -> None:
    settings = replace(TINY, networks=(Size(2**20, 100_000),))
    report = CHALLENGE.run(settings, ["strategies", "peers"])
    assert report.to_markdown().count("its weights take") == 4
    assert list(report.tables()) == []


def test_unknown_section() -> None:
    with pytest.raises(InputError, match="section is 'speed', wanted one of shortcuts"):
        CHALLENGE.run(TINY, ["speed"])


def test_a_missing_plot_library_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'matplotlib"):
        CHALLENGE.run(TINY, ["shortcuts"], output=tmp_path)
    assert list(tmp_path.iterdir()) == []
