"""Trainings are kept: an interrupted benchmark repeats none of them, and believes no damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.fssl.methods import FSSL, MAGNITUDE, RANDOM, SCRATCH, WIDTH, Target
from benchmarks.fssl.settings import Settings
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trial_trainer import TrialTrainer
from benchmarks.fssl.trials import Trials, trials_of
from espalier import FileError
from espalier.errors import TrainingError
from espalier.progress import silent
from espalier.training.phase_trainer import PhaseTrainer

TIME, ZEROS = Target("time", 0.4), Target("zeros", 0.8)


def refuse(*_: object) -> None:
    raise AssertionError("it was trained again")


def test_what_is_known_is_not_trained_again(
    tiny: Settings, ask: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trials_of(tiny).make(ask(SCRATCH, TIME), silent)
    assert len(Path(tiny.runs, "runs.jsonl").read_text().splitlines()) == 2, "FSSL comes first"
    monkeypatch.setattr(TrialTrainer, "train", refuse)
    again = trials_of(tiny)
    assert again.make(ask(SCRATCH, TIME), silent).figures == made.figures
    found = again.make(ask(FSSL, TIME), silent)
    assert (
        found.figures["kept"] == made.figures["kept"]
        and found.figures["widths"] == made.figures["widths"]
    )
    assert made.figures["widths"][0] < 64 and made.figures["weights"] < made.figures["of_weights"]
    with pytest.raises(AssertionError, match="trained again"):
        again.make(ask(FSSL, TIME, seed=1), silent)


def test_benchmarks_at_once_share_their_trainings(
    tiny: Settings, ask: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = trials_of(tiny), trials_of(tiny)
    made = theirs.make(ask(), silent)
    monkeypatch.setattr(TrialTrainer, "train", refuse)
    assert mine.make(ask(), silent).figures == made.figures


def test_a_network_that_is_gone_is_trained_again(tiny: Settings, ask: Callable[..., Trial]) -> None:
    made = trials_of(tiny).make(ask(), silent)
    weights = [p.clone() for p in made.model().parameters()]
    made.path.unlink()
    again = trials_of(tiny).make(ask(), silent)
    assert all(map(torch.equal, weights, again.model().parameters()))


def test_a_torn_line_is_forgotten_and_a_damaged_one_refused(
    tiny: Settings, ask: Callable[..., Trial]
) -> None:
    trials_of(tiny).make(ask(), silent)
    lines = Path(tiny.runs, "runs.jsonl")
    whole = lines.read_text()
    lines.write_text(whole + whole[:40])
    trials = trials_of(tiny)
    trials.make(ask(seed=1), silent)
    first, second = map(json.loads, lines.read_text().splitlines())
    assert (first["key"]["seed"], second["key"]["seed"]) == (0, 1)
    lines.write_text(whole[:40] + "\n" + whole)
    with pytest.raises(FileError, match=r"runs.jsonl, line 1 is damaged"):
        trials_of(tiny)


def test_a_failure_is_known_too(
    tiny: Settings, ask: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(TrialTrainer, "train", fail)
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"dense, seed 0: the loss is nan"):
            trials_of(tiny).make(ask(), silent)
        monkeypatch.setattr(TrialTrainer, "train", refuse)


def test_a_shared_dense_start_changes_no_bit(tmp_path: Path, ask: Callable[..., Trial]) -> None:
    shared = Trials(tmp_path / "shared")
    shared.make(ask(RANDOM, TIME), silent)
    after = shared.make(ask(MAGNITUDE, ZEROS), silent)
    alone = Trials(tmp_path / "alone").make(ask(MAGNITUDE, ZEROS), silent)
    mine, theirs = (each.whole().state_dict() for each in (after, alone))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (
        after.figures["nonzeros"]
        == alone.figures["nonzeros"]
        <= 0.2 * after.figures["of_weights"] + 1
    )


def test_a_weight_budget_is_kept(tiny: Settings, ask: Callable[..., Trial]) -> None:
    made = trials_of(tiny).make(ask(FSSL, Target("weights", 0.25)), silent)
    assert made.figures["weights"] <= 0.25 * made.figures["of_weights"]


def test_other_data_and_settings_have_other_keys(ask: Callable[..., Trial]) -> None:
    trials = [ask(), ask(seed=1), ask(MAGNITUDE, ZEROS), ask(FSSL, TIME), ask(SCRATCH, TIME)]
    keys = [json.dumps(trial.key(data)) for trial in trials for data in ("one", "two")]
    assert len(set(keys)) == len(keys)
    assert not any("digits" in key for key in keys), "the data is known by its fingerprint alone"


def test_small_networks_learn_from_the_dense_one(
    tiny: Settings, ask: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[bool] = []
    loss = PhaseTrainer.loss

    def watched(self: PhaseTrainer, *arguments: torch.Tensor) -> torch.Tensor:
        taught.append(self.context.distillation.active)
        return loss(self, *arguments)

    monkeypatch.setattr(PhaseTrainer, "loss", watched)
    steps = 1442 // 128
    trials_of(tiny).make(ask(WIDTH, TIME), silent)
    assert taught == [False] * 2 * steps + [True] * 7 * steps, "a dense phase, then its own epochs"
    taught.clear()
    trials_of(tiny).make(ask(), silent)
    assert taught == [False] * 7 * steps
