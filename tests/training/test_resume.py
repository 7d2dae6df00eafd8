"""A training that was killed, wherever it was, goes on to the very same bits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from espalier.errors import EspalierError, FileError, InputError
from espalier.files.container import read_json, write_json
from espalier.training import RunDirectory, Settings, TrainingResult, train
from espalier.training.run_directory import ONE_PROCESS
from tests.training import killed

SCRIPT = Path(killed.__file__)
METHODS = ("magnitude", "fssl", "rigl")
DEATHS = [(method, moment) for method in METHODS for moment in killed.moments(method)]
EPOCHS = 5


def settings_of(method: str) -> Settings:
    return Settings(
        model="mlp:16-12", method=method, epochs=EPOCHS, time="macs", threads=1, batch=64
    )


def bits(result: TrainingResult) -> dict[str, torch.Tensor]:
    return result.model.state_dict()


def same_bits(one: TrainingResult, other: TrainingResult) -> bool:
    pairs = zip(bits(one).items(), bits(other).items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@cache
def unbroken(method: str) -> TrainingResult:
    """The same training, left alone."""
    return train(settings_of(method))


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each method, and in it trainings that were killed, each at another moment."""
    folder = tmp_path_factory.mktemp("killed")
    words = [json.dumps(settings_of(method).to_json()) for method in METHODS]
    command = [sys.executable, str(SCRIPT), str(folder), *words]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert said.stdout.splitlines() == [f"{moment}\t9" for _, moment in DEATHS]
    return folder


@pytest.mark.parametrize(("method", "moment"), DEATHS)
def test_bit_for_bit_after_a_kill(method: str, moment: str, remains: Path) -> None:
    notices: list[str] = []
    folder = remains / method / moment
    result = train(settings_of(method), folder, resume=True, on_notice=notices.append)
    assert not notices
    assert same_bits(result, unbroken(method))
    text = (folder / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert [line["loss"] for line in lines] == [record.loss for record in unbroken(method).history]
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a dense training stopped in its third epoch."""

    def stop(record: object) -> None:
        if len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings_of("dense"), tmp_path / "run", on_epoch=stop)
    return tmp_path / "run"


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir())


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


@pytest.mark.parametrize("harm", [flip, lambda content: content[:-1], lambda content: b""])
def test_a_damaged_checkpoint_is_passed_over(begun: Path, harm: Callable[[bytes], bytes]) -> None:
    path = newest(begun)
    path.write_bytes(harm(path.read_bytes()))
    notices: list[str] = []
    result = train(settings_of("dense"), begun, resume=True, on_notice=notices.append)
    assert len(notices) == 1 and str(path) in notices[0] and "using that of epoch 1" in notices[0]
    assert same_bits(result, train(settings_of("dense")))


def test_without_a_whole_checkpoint_it_begins_anew(begun: Path) -> None:
    for path in (begun / "checkpoints").iterdir():
        path.write_bytes(b"not a checkpoint")
    with pytest.warns(UserWarning, match="starting anew"):
        result = train(settings_of("dense"), begun, resume=True)
    assert same_bits(result, train(settings_of("dense")))


def test_a_finished_training_finishes_again(tmp_path: Path) -> None:
    first = train(settings_of("dense"), tmp_path / "run")
    again = train(settings_of("dense"), tmp_path / "run", resume=True)
    assert same_bits(first, again) and again.history == first.history


def test_other_settings_are_refused(begun: Path) -> None:
    settings = Settings(
        model="mlp:16-12",
        method="dense",
        epochs=EPOCHS,
        time="macs",
        threads=1,
        batch=64,
        seed=3,
        lr=0.5,
    )
    with pytest.raises(InputError, match=r"lr is 0\.5, was None; seed is 3, was 0"):
        train(settings, begun, resume=True)


def test_other_data_is_refused(idx_folder: Path, tmp_path: Path) -> None:
    settings = Settings(
        data=str(idx_folder), model="mlp:4", method="dense", epochs=1, batch=8, time="macs"
    )
    train(settings, tmp_path / "run")
    images = idx_folder / "train-labels-idx1-ubyte"
    content = bytearray(images.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    images.write_bytes(content)
    with pytest.raises(InputError, match="begun with other data"):
        train(settings, tmp_path / "run", resume=True)


def test_data_may_move(idx_folder: Path, tmp_path: Path) -> None:
    def settings(folder: Path) -> Settings:
        return Settings(
            data=str(folder), model="mlp:4", method="dense", epochs=1, batch=8, time="macs"
        )

    first = train(settings(idx_folder), tmp_path / "run")
    moved = shutil.move(idx_folder, tmp_path / "elsewhere")
    assert same_bits(train(settings(moved), tmp_path / "run", resume=True), first)


def test_a_folder_in_use_is_not_overwritten(begun: Path) -> None:
    before = sorted(path.read_bytes() for path in begun.rglob("*") if path.is_file())
    with pytest.raises(FileError, match="holds a training already"):
        train(settings_of("dense"), begun)
    assert sorted(path.read_bytes() for path in begun.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "other"}', '{"format": "espalier-training"}']
)
def test_a_damaged_description_is_refused(begun: Path, text: str) -> None:
    (begun / "run.json").write_text(text)
    with pytest.raises(FileError, match=r"run\.json"):
        train(settings_of("dense"), begun, resume=True)


@pytest.mark.parametrize(
    ("was", "becomes"), [('"batch": 64', '"batch": 65'), ('"lr": null', '"lr": 0.01')]
)
def test_a_description_that_says_something_else_is_refused(
    begun: Path, was: str, becomes: str
) -> None:
    path = begun / "run.json"
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, becomes))
    for epochs in (1, 2):
        (begun / "checkpoints" / f"epoch-0000{epochs}.safetensors").unlink()
    with pytest.raises(FileError, match="does not match its checksum"):
        RunDirectory(begun).settings()


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no training"):
        train(settings_of("dense"), tmp_path / "none", resume=True)
    with pytest.raises(EspalierError, match="resume wants the output folder"):
        train(settings_of("dense"), resume=True)


def test_other_versions_are_said(begun: Path) -> None:
    run = read_json(begun / "run.json", ONE_PROCESS)
    run["environment"]["torch"] = "2.0.0"
    write_json(begun / "run.json", ONE_PROCESS, run)
    with pytest.warns(UserWarning, match=r"torch is .*, was 2\.0\.0: the last bits may differ"):
        train(settings_of("dense"), begun, resume=True)
    assert RunDirectory(begun).settings() == settings_of("dense")


def test_a_copy_of_the_folder_goes_on_elsewhere(begun: Path, tmp_path: Path) -> None:
    shutil.move(begun, tmp_path / "moved")
    result = train(settings_of("dense"), tmp_path / "moved", resume=True)
    assert same_bits(result, train(settings_of("dense")))


def test_a_description_that_lacks_a_part_is_refused(begun: Path) -> None:
    run = read_json(begun / "run.json", ONE_PROCESS)
    del run["time"]
    write_json(begun / "run.json", ONE_PROCESS, run)
    with pytest.raises(FileError, match="lacks 'time'"):
        train(settings_of("dense"), begun, resume=True)


def test_times_of_another_machine_are_kept(begun: Path) -> None:
    run = read_json(begun / "run.json", ONE_PROCESS)
    run["time"]["machine"] = "a machine elsewhere"
    write_json(begun / "run.json", ONE_PROCESS, run)
    result = train(settings_of("dense"), begun, resume=True)
    assert same_bits(result, unbroken("dense"))


def test_a_training_is_not_described_over_another(begun: Path) -> None:
    before = (begun / "run.json").read_bytes()
    with pytest.raises(FileError, match="holds a training already"):
        RunDirectory(begun).create(settings_of("dense"), "other data", "{}")
    assert (begun / "run.json").read_bytes() == before
