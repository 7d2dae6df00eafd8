"""What becomes of a training when a rank fails: it ends, says why, and goes on undisturbed."""

from __future__ import annotations

import json
import shutil
import time

import pytest
import torch

from espalier import fssl
from espalier.errors import FileError
from espalier.training import RunDirectory
from espalier.training.run_directory import ON_RANKS
from tests.distributed.conftest import LIMIT, answers

TRAIN = ["train", "--model", "radixnet:64x3", "--epochs", "3", "--batch", "256", "--threads", "1"]
PATIENCE = 15.0


def weights(folder):
    return fssl.load(folder / "model.safetensors").state_dict()


def assert_equal_bits(one, other):
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(other)[name], tensor, rtol=0, atol=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A function that trains once, whichever test asks first."""
    folder = tmp_path_factory.mktemp("undisturbed") / "training"

    def train(run_ranks):
        if not folder.exists():
            done = run_ranks("faulty.py", 2, "none", 0, "", "--", *command(folder))
            assert done.returncode == 0, done.stderr
        return folder

    return train


def command(folder, *more):
    return [*TRAIN, "--parts", "2", "--output", folder, *more]


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("forward", "epoch 2, step 3, forward, layer 1"),
        ("backward", "epoch 3, step 2, backward, layer 2"),
        ("checkpoint", "epoch 2, writing the checkpoint"),
    ],
)
def test_a_killed_rank_ends_the_run_which_then_goes_on_undisturbed(
    run_ranks, undisturbed, tmp_path, where, step
):
    folder = tmp_path / "training"
    killed = run_ranks("faulty.py", 2, "kill", 1, step, "--", *command(folder))

    assert killed.returncode == 137, killed.stderr
    assert f"error: rank 1 was ended by signal 9 in {step}" in killed.stderr

    again = run_ranks("faulty.py", 2, "none", 0, "", "--", *command(folder, "--resume"))
    assert again.returncode == 0, again.stderr
    assert_equal_bits(undisturbed(run_ranks), folder)
    metrics = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in metrics] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "step", "code", "words"),
    [
        ("stop", "epoch 2, step 4, forward, layer 2", 75, "waited 15 s for rank 1 (last seen in "),
        ("fill", "epoch 2, writing the checkpoint", 2, "cannot write"),
        ("raise", "epoch 2, step 1, backward, layer 1", 2, "a fault that was asked for"),
    ],
)
def test_a_frozen_or_failing_rank_ends_the_run_and_is_named(
    run_ranks, tmp_path, fault, step, code, words
):
    folder = tmp_path / "training"
    start = time.monotonic()
    failed = run_ranks("faulty.py", 2, fault, 1, step, "--", *command(folder), patience=PATIENCE)

    assert failed.returncode == code, failed.stderr
    assert words in failed.stderr
    assert step in failed.stderr
    assert "rank 1" in failed.stderr
    assert time.monotonic() - start < LIMIT
    assert (folder / "checkpoints" / "epoch-00001" / "manifest.json").exists()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A function that gives a copy of a training that ended in its third epoch."""
    folder = tmp_path_factory.mktemp("interrupted") / "training"

    def train(run_ranks, copy):
        if not folder.exists():
            done = run_ranks("faulty.py", 2, "kill", 0, "epoch 3, step 1,", "--", *command(folder))
            assert done.returncode == 137, done.stderr
        shutil.copytree(folder, copy)
        return copy

    return train


@pytest.mark.parametrize(
    ("file", "kind"), [("part-00001.safetensors", "flipped"), ("manifest.json", "truncated")]
)
def test_a_damaged_checkpoint_is_passed_over(
    run_ranks, undisturbed, interrupted, tmp_path, file, kind
):
    folder = interrupted(run_ranks, tmp_path / "training")
    damage(folder / "checkpoints" / "epoch-00002" / file, kind)

    again = run_ranks("faulty.py", 2, "none", 0, "", "--", *command(folder, "--resume"))
    assert again.returncode == 0, again.stderr
    assert "is damaged" in again.stderr
    assert_equal_bits(undisturbed(run_ranks), folder)


def test_damaged_checkpoints_give_way_to_those_of_a_training_anew(run_ranks, interrupted, tmp_path):
    folder = interrupted(run_ranks, tmp_path / "training")
    for epoch in (1, 2):
        damage(folder / "checkpoints" / f"epoch-0000{epoch}" / "manifest.json", "flipped")
    killed = run_ranks(
        "faulty.py", 2, "kill", 0, "epoch 2, step 1,", "--", *command(folder, "--resume")
    )
    assert killed.returncode == 137, killed.stderr
    assert "has no whole checkpoint; starting anew" in killed.stderr
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["epoch-00001"]


def test_a_slow_disk_is_waited_for(run_ranks, tmp_path):
    where = "epoch 3, writing the checkpoint"
    done = run_ranks(
        "faulty.py", 2, "slow", 1, where, "--", *command(tmp_path / "training"), patience=PATIENCE
    )
    assert done.returncode == 0, done.stderr


def test_a_training_goes_on_with_other_parts(run_ranks, undisturbed, interrupted, tmp_path):
    folder = interrupted(run_ranks, tmp_path / "training")
    other = [*TRAIN, "--parts", "3", "--output", folder, "--resume"]
    again = run_ranks("faulty.py", 3, "none", 0, "", "--", *other)

    assert again.returncode == 0, again.stderr
    for name, tensor in weights(undisturbed(run_ranks)).items():
        torch.testing.assert_close(weights(folder)[name], tensor, rtol=1e-4, atol=1e-5)


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_ranks_with_different_partitions_are_told_so(run_ranks):
    done = run_ranks("different.py", 2)

    assert done.returncode == 2, done.stderr
    assert "the partition differs between ranks: rank 1 has" in done.stderr


def test_a_directory_that_another_training_holds_is_refused_on_every_rank(
    run_ranks, start_ranks, undisturbed, tmp_path
):
    whole, folder, waits = undisturbed(run_ranks), tmp_path / "training", tmp_path / "waits"
    fault = f"wait:{waits}", 0, "epoch 2, step 1, forward, layer 1"
    with start_ranks("faulty.py", 2, *fault, "--", *command(folder), patience=9 * LIMIT) as holder:
        try:
            limit = time.monotonic() + LIMIT
            while not waits.exists():
                assert holder.poll() is None and time.monotonic() < limit
                time.sleep(0.05)

            with pytest.raises(FileError, match="another training runs in"):
                RunDirectory(folder, ON_RANKS).check(resume=True)
            said = answers(run_ranks("held.py", 2, folder))["said"]
            line = run_ranks("faulty.py", 2, "none", 0, "", "--", *command(folder, "--resume"))
            waits.unlink()
            holder.communicate(timeout=LIMIT)
        finally:
            holder.terminate()

    words = f"another training runs in {folder}: wait for its end, or give another folder"
    assert said == [words, words]
    assert line.returncode == 2 and line.stderr.count("\n") == 1 and words in line.stderr
    assert holder.returncode == 0
    assert_equal_bits(whole, folder)


def test_a_changed_setting_is_named(run_ranks, interrupted, tmp_path):
    folder = interrupted(run_ranks, tmp_path / "training")
    changed = command(folder, "--resume", "--seed", 4, "--lr", 0.5)
    refused = run_ranks("faulty.py", 2, "none", 0, "", "--", *changed)

    assert refused.returncode == 2, refused.stderr
    assert "begun with other settings: lr is 0.5, was None; seed is 4, was 0" in refused.stderr
    assert refused.stderr.count("\n") == 1
