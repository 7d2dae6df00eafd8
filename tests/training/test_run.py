"""Whole trainings of a moment: what they reach, what they write, and when they stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from espalier.errors import FileError, InputError, TrainingError
from espalier.training import RunDirectory, Settings, TrainingResult, compact_folder, train
from espalier.training.compaction import reopen

Quick = Callable[..., Settings]


def test_magnitude_ends_with_the_zeros_asked_for(quick: Quick) -> None:
    result = train(quick(method="magnitude", target_zeros=0.8, epochs=5))
    assert result.target_met and result.compact.zeros >= 0.8 - 1e-9
    phases = [record.phase for record in result.history]
    assert phases == ["dense", "dense", "prune", "prune", "finetune"]
    zeros = [record.zeros for record in result.history]
    assert zeros[:2] == [0.0, 0.0] and zeros == sorted(zeros)
    assert zeros[3] == zeros[-1] == pytest.approx(0.8, abs=1e-3)
    assert result.compact.weights < result.dense.weights


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("fssl", {"target_time": 0.4}),
        ("fssl", {"target_units": 0.5}),
        ("fssl", {"target_zeros": 0.7}),
        ("rigl", {"target_zeros": 0.7}),
        ("dense", {}),
    ],
)
def test_every_method_learns_and_meets_its_target(
    quick: Quick, method: str, target: dict[str, float]
) -> None:
    settings = quick(model="mlp:48-32", method=method, epochs=20, batch=64, **target)
    result = train(settings)
    assert result.target_met, result.verdict()
    assert result.compact.error is not None and result.compact.error < 0.12
    assert result.compact.error == 1.0 - result.history[-1].test_accuracy
    assert not result.model.training


def test_the_compact_network_of_fssl_is_smaller(quick: Quick) -> None:
    result = train(quick(model="mlp:48-32", epochs=12, target_time=0.3))
    dense, compact = result.dense, result.compact
    assert compact.multiply_adds < 0.35 * dense.multiply_adds
    assert compact.weights < dense.weights and compact.bytes < dense.bytes
    assert all(0 < left <= full for left, full in zip(compact.units, dense.units, strict=True))
    assert compact.predicted_seconds <= 0.3 * dense.predicted_seconds * (1 + 1e-6)


def test_a_target_out_of_reach_is_said(quick: Quick, tmp_path: Path) -> None:
    """Every layer keeps units, whatever is asked for."""
    result = train(quick(target_units=0.001), tmp_path / "run")
    assert not result.target_met and result.verdict().startswith("FAILED: units are")
    assert min(result.compact.units) >= 1
    assert result.path is not None and result.path.exists()


def test_what_a_training_writes(quick: Quick, tmp_path: Path) -> None:
    result = train(quick(method="magnitude"), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("run.json", "metrics.jsonl", "checkpoints", "model.safetensors", "result.json")
    }
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record.to_json() for record in result.history]
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["networks"][1]["weights"] == result.compact.weights
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["environment"]["torch"] == torch.__version__ and len(run["data"]) == 64


def test_the_saved_model_answers_the_same(quick: Quick, tmp_path: Path) -> None:
    from espalier import fssl

    result = train(quick(epochs=6), tmp_path / "run")
    assert result.path is not None
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(fssl.load(result.path)(images), result.model(images))
    assert fssl.load_metadata(result.path)["inputs"]["std"] > 0


def test_a_loss_that_is_no_number_stops(quick: Quick, tmp_path: Path) -> None:
    settings = quick(method="dense", lr=1e30)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch 1, step \d+ of 22"):
        train(settings, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_the_last_good_checkpoint_stays(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espalier.training.phase_trainer import PhaseTrainer

    loss = PhaseTrainer.loss
    calls: list[int] = []

    def failing(trainer: PhaseTrainer, *batch: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        return loss(trainer, *batch) * (math.nan if len(calls) > 47 else 1.0)

    monkeypatch.setattr(PhaseTrainer, "loss", failing)
    with pytest.raises(TrainingError, match=r"epoch 3, step 4 of 22, .* the checkpoint of epoch 2"):
        train(quick(method="dense", epochs=4), tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["epoch-00001.safetensors", "epoch-00002.safetensors"]


def test_a_training_without_a_folder_writes_nothing(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(quick(method="dense", epochs=1)).path is None
    assert not list(tmp_path.iterdir())


def test_the_callers_random_numbers_are_his_own(quick: Quick) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train(quick(epochs=3))
    assert torch.equal(torch.rand(3), wanted)


def test_the_seed_decides_everything(quick: Quick) -> None:
    def loss(seed: int) -> float:
        return train(quick(method="dense", epochs=1, seed=seed)).history[-1].loss

    assert loss(1) == loss(1) != loss(2)


def test_rigl_counts_the_units_of_its_connections_as_they_are(quick: Quick, tmp_path: Path) -> None:
    settings = quick(method="rigl", model="mlp:24-16", epochs=4, batch=32)
    result = train(settings, tmp_path / "run")
    with reopen(RunDirectory(tmp_path / "run"), print) as training:
        groups = training.context.groups(training.trainer.model)
        assert result.history[-1].units == groups.widths()


@pytest.mark.parametrize("seed", [2**63, 2**64 - 1])
def test_seeds_up_to_the_largest(quick: Quick, seed: int) -> None:
    for method in ("dense", "rigl"):
        assert train(quick(method=method, seed=seed, epochs=2)).history[-1].loss > 0.0


def test_images_are_resized_for_the_network(quick: Quick) -> None:
    result = train(quick(model="lenet5", method="dense", epochs=1, batch=1442))
    assert result.compact.weights == 430_500 and result.compact.multiply_adds == 2_293_000


def test_radixnet_trains_sparse_layers(quick: Quick) -> None:
    result = train(quick(model="radixnet:64x2", method="fssl", target_zeros=0.3, epochs=4))
    assert result.target_met and result.dense.weights == 2 * 64 * 32 + 640


def test_a_network_that_starts_sparse_gets_faster(quick: Quick) -> None:
    """Its time is a part of what it takes as it is, not of what it would take dense."""
    result = train(quick(model="radixnet:64x2", target_time=0.5, epochs=4))
    assert result.target_met and result.history[0].predicted_time == pytest.approx(1.0)
    assert sum(result.compact.units) < sum(result.dense.units)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mlp"}, "model is 'mlp', wanted mlp:300-100"),
        ({"epochs": 1}, "epochs is 1, wanted at least 3"),
        ({"batch": 1000}, "the phase sparsify has 1 steps, wanted at least 20"),
        ({"batch": 2000}, "batch is 2,000, but the training set has 1,442 images"),
        ({"model": "vgg-small:4", "target_zeros": 0.9}, r"target_zeros is 0\.9, but only \d"),
        (
            {"model": "vgg-small:4", "method": "rigl", "target_zeros": 0.9},
            r"target_zeros is 0\.9, but only \d",
        ),
    ],
)
def test_bad_settings_write_nothing(
    quick: Quick, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(quick(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make"):
        train(quick(method="dense", epochs=1), tmp_path / "file" / "run")


def test_a_training_stopped_halfway_can_be_compacted(quick: Quick, tmp_path: Path) -> None:
    def stop(record: object) -> None:
        if record.epoch == 4:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(quick(epochs=6), tmp_path / "run", on_epoch=stop)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    result = compact_folder(tmp_path / "run", tmp_path / "compact.safetensors", on_notice=print)
    assert isinstance(result, TrainingResult) and result.compact.weights < result.dense.weights
    assert (tmp_path / "compact.safetensors").exists()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_two_trainings_do_not_share_a_folder(quick: Quick, tmp_path: Path) -> None:
    settings = quick(method="dense", epochs=2)
    refused = []

    def meddle(record: object) -> None:
        with pytest.raises(FileError, match=f"another training runs in {tmp_path}") as caught:
            train(settings, tmp_path, resume=True)
        refused.append(caught)

    train(settings, tmp_path, on_epoch=meddle)
    assert len(refused) == 2
    assert train(settings, tmp_path, resume=True).path is not None


def test_a_folder_is_held_before_anything_is_measured(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espalier.training import run

    settings, refused = quick(method="dense", epochs=1), []

    def measuring(*arguments: object) -> object:
        if not refused:
            with pytest.raises(FileError, match=f"another training runs in {tmp_path}") as caught:
                train(settings, tmp_path)
            refused.append(caught)
        return make_time_model(*arguments)

    make_time_model = run.make_time_model
    monkeypatch.setattr(run, "make_time_model", measuring)
    assert train(settings, tmp_path).path is not None and refused


def test_images_that_are_moved_out_of_sight_are_refused(quick: Quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shift is 8, .* 8 pixels a side .* wanted 0 to 7"):
        train(quick(shift=8), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_network_that_lost_what_it_knew_is_warned_about(quick: Quick) -> None:
    result = train(quick(target_units=0.5, epochs=9))
    row = replace(result.compact, error=result.dense.error + 0.5)
    assert "milder target" in (replace(result, compact=row).warning() or "")
    kept = replace(result.compact, error=result.dense.error)
    assert replace(result, compact=kept).warning() is None
