"""Every section on a tiny network: what is measured, written and said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.harness.report import Report
from benchmarks.sparsetrain.benchmark import SPARSETRAIN
from benchmarks.sparsetrain.images import Images
from benchmarks.sparsetrain.settings import Settings
from benchmarks.sparsetrain.shapes import PASSES
from espalier import FileError, InputError, MissingExtraError


def records_of(report: Report, section: str) -> list[dict]:
    (answer,) = [answer for answer in report.answers if answer.section.name == section]
    assert report.notes(answer)
    return answer.records


def test_layers_are_measured_in_all_their_passes(tiny: Settings, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = SPARSETRAIN.run(tiny, ["layers"], output=tmp_path)
    records = records_of(report, "layers")
    ways = {(r["layer"], r["pass"], r["variant"]) for r in records}
    assert {way[1:] for way in ways if way[0] == "1x1 12>8 @3"} == {
        ("FWD", "input"),
        ("BWI", "needed"),
        ("BWW", "input"),
    }
    assert len({way for way in ways if way[0] == "linear 512>512, 64 rows"}) == 5
    for record in records:
        assert [level["zeros"] for level in record["levels"]] == [0.0, 0.5, 0.9]
        assert record["dense_rate"] > 0.0 < record["bytes_allow"]
    assert len(list(report.tables())) == 4
    assert (tmp_path / "sparsetrain-layers.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "sparsetrain.json").read_text())
    assert written == json.loads(report.to_json())
    assert report.machine.processor in (tmp_path / "sparsetrain.md").read_text()


def test_networks_add_up(tiny: Settings, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (record,) = records_of(SPARSETRAIN.run(tiny, ["networks"], output=tmp_path), "networks")
    assert len(record["layers"]) == 3 * len(PASSES)
    assert record["all"]["dense_seconds"] == pytest.approx(
        sum(candidate["dense_seconds"] for candidate in record["passes"].values())
    )
    first, second, third = (record["layers"][start : start + 3] for start in (0, 3, 6))
    assert {variant for candidate in first for variant in candidate["zeros"]} == {
        "input",
        "gradient",
        "needed",
    }
    measured_once = [candidate | {"layer": "second"} for candidate in third]
    assert measured_once == second
    assert (tmp_path / "sparsetrain-networks.png").exists()


def test_replay_captures_what_the_layers_read(tiny: Settings) -> None:
    pytest.importorskip("sklearn")
    records = records_of(SPARSETRAIN.run(tiny, ["replay"]), "replay")
    assert len(records) == 5 * 7 - 1  # ways to skip, layers; one stands behind average pooling
    assert [r["shape"] for r in records if r["variant"] == "needed"].count("linear 1024>512") == 0
    assert records[0]["shape"] == "3x3 64>64 @28"
    by_way = {(r["shape"], r["pass"], r["variant"]): r["zeros"] for r in records}
    pooled = by_way["3x3 64>64 @28", "BWI", "gradient"]
    assert 0.75 <= pooled < 1.0, "one of four positions below a max-pool gets a gradient"
    assert by_way["3x3 64>128 @14", "FWD", "input"] > 0.1


def test_steps_agree_and_remember_their_memory(tiny: Settings) -> None:
    pytest.importorskip("sklearn")
    fresh, trained = records_of(SPARSETRAIN.run(tiny, ["steps"]), "steps")
    assert (fresh["start"], trained["start"]) == ("the start", "step 1")
    for record in (fresh, trained):
        assert len(record["losses"]["dense"]) == record["steps"] == 4
        assert record["loss_difference"] < 1e-3
        for memory in record["memory"].values():
            assert 0 < memory["step_bytes"] < memory["peak_bytes"]


def test_unknown_names_are_named(tiny: Settings) -> None:
    with pytest.raises(InputError, match="section is 'speed', wanted one of layers, networks"):
        SPARSETRAIN.run(tiny, ["speed"])
    with pytest.raises(InputError, match="network is 'VGG19', wanted one of VGG16"):
        Settings(networks=("VGG19",))
    with pytest.raises(InputError, match="model is 'alexnet', wanted one of vgg_small"):
        Settings(models=("alexnet",))
    with pytest.raises(InputError, match="no layer's name contains"):
        SPARSETRAIN.run(Settings(layers=("9x9",)), ["layers"])


def test_missing_packages_are_named(tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'matplotlib"):
        SPARSETRAIN.run(tiny, list(SPARSETRAIN.sections))


def test_mnist_is_read_from_its_folder(mnist_data: Path, tmp_path: Path) -> None:
    images = Images.digits(str(mnist_data))
    assert images.pixels.shape[1:] == (1, 28, 28) and len(images.pixels) == len(images.labels)
    assert abs(images.pixels.mean().item()) < 1e-3 and set(images.labels.tolist()) == set(range(10))
    with pytest.raises(FileError, match="lacks train-images-idx3-ubyte"):
        Images.digits(str(tmp_path))


def test_quick_settings_measure_less() -> None:
    quick = Settings(networks=("VGG16", "ResNet-34"), layers=("@7",)).quick()
    assert quick.networks == ("VGG16",) and quick.layers == ("@7",)
    assert quick.rounds < Settings().rounds and len(quick.zeros) < len(Settings().zeros)
