"""A checkpoint is read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from espalier.errors import FileError
from espalier.files.container import write_tensors
from espalier.training import checkpoint

STATE = {"weight": torch.arange(6.0).view(2, 3), "step": 7, "alive": torch.tensor([True, False])}


def test_it_comes_back(tmp_path: Path) -> None:
    found = checkpoint.read(checkpoint.write(tmp_path, 3, STATE))
    assert found.epochs == 3 and found.state["step"] == 7
    assert torch.equal(found.state["weight"], STATE["weight"])
    assert found.state["alive"].dtype == torch.bool


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for epochs in (1, 2, 3, 100_000):
        checkpoint.write(tmp_path, epochs, STATE)
    kept = [path.name for path in sorted(tmp_path.iterdir())]
    assert kept == ["epoch-00003.safetensors", "epoch-100000.safetensors"]
    newest, refused = checkpoint.read_newest(tmp_path)
    assert newest is not None and newest.epochs == 100_000 and not refused


def test_damaged_ones_give_way_to_those_of_the_training_anew(tmp_path: Path) -> None:
    for epochs in (4, 5):
        checkpoint.write(tmp_path, epochs, STATE).write_bytes(b"damaged")
    assert checkpoint.read_newest(tmp_path)[0] is None
    for epochs in (1, 2, 3):
        checkpoint.write(tmp_path, epochs, STATE)
        newest, refused = checkpoint.read_newest(tmp_path)
        assert newest is not None and newest.epochs == epochs and not refused
    kept = [path.name for path in sorted(tmp_path.iterdir())]
    assert kept == ["epoch-00002.safetensors", "epoch-00003.safetensors"]


@settings(max_examples=50)
@given(st.data())
def test_a_flipped_bit_is_refused(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    path = checkpoint.write(folder, 1, STATE)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"damaged|cut short|no checkpoint|version"):
        checkpoint.read(path)


@settings(max_examples=30)
@given(st.floats(0.0, 0.999))
def test_a_cut_is_refused_and_the_previous_one_used(
    tmp_path_factory: pytest.TempPathFactory, part: float
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    checkpoint.write(folder, 1, STATE)
    path = checkpoint.write(folder, 2, STATE)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    newest, refused = checkpoint.read_newest(folder)
    assert newest is not None and newest.epochs == 1
    assert len(refused) == 1 and str(path) in str(refused[0])


def test_a_state_without_its_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "epoch-00001.safetensors"
    state = {"epochs": 1, "state": {"weight": {"$tensor": "/weight"}}}
    write_tensors(path, checkpoint.CHECKPOINT, {"state": state}, save({}))
    with pytest.raises(FileError, match="is damaged: its state lacks or misuses '/weight'"):
        checkpoint.read(path)


def test_none_is_none(tmp_path: Path) -> None:
    assert checkpoint.read_newest(tmp_path) == (None, [])


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, 1, STATE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileError, match="No space left"):
        checkpoint.write(tmp_path, 2, STATE)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.safetensors"]
    assert checkpoint.read_newest(tmp_path)[0] is not None
