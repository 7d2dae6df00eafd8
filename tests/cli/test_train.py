"""`espalier train`, `compact` and `demo` from the words to the files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

QUICK = ("--model", "mlp:16-12", "--batch", 64, "--time", "macs", "--threads", 1)
# A shell starts what runs in its background deaf to interrupts.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from espalier.cli import main
main()
"""
FIVE = (*QUICK, "--epochs", 5)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written without --output stays out of the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "cache"))


def test_a_training_from_words_to_files(espalier) -> None:
    outcome = espalier("train", *FIVE, "--target-units", 0.6)
    assert outcome.returncode == 0, outcome.stderr
    assert "dense" in outcome.stdout and "compact" in outcome.stdout
    assert "PASSED: units are" in outcome.stdout
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 5 and "epoch 3 of 5, sparsify: loss " in lines[2]
    assert all(word in lines[0] for word in ("test accuracy", "zeros", "time"))
    assert re.search(r"time, predicted │ -\s+│ -\s+│", outcome.stdout)  # no time: multiply-adds
    folder = Path("training-digits-mlp-16-12-fssl-0")
    assert (folder / "model.safetensors").exists()


def test_json_is_all_there_is_on_standard_output(espalier) -> None:
    outcome = espalier("train", *QUICK, "--method", "dense", "--epochs", 1, "--json")
    result = json.loads(outcome.stdout)
    assert [network["name"] for network in result["networks"]] == ["dense", "compact"]
    assert result["settings"]["method"] == "dense" and len(result["epochs"]) == 1


def test_a_missed_target_is_exit_code_1(espalier) -> None:
    outcome = espalier("train", *FIVE, "--target-units", 0.001, "--output", "run")
    assert outcome.returncode == 1 and "FAILED: units are" in outcome.stdout
    assert Path("run/model.safetensors").exists()


def test_resuming_needs_the_folder_alone(espalier) -> None:
    first = espalier("train", *FIVE, "--output", "run", "--json")
    again = espalier("train", "--output", "run", "--resume", "--json")
    assert again.returncode == 0
    rows = [json.loads(outcome.stdout)["networks"][1] for outcome in (first, again)]
    assert rows[0]["error"] == rows[1]["error"] and rows[0]["weights"] == rows[1]["weights"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "nowhere"), "data is 'nowhere', wanted digits or a folder"),
        (("--model", "mlp:x"), "model is 'mlp:x', wanted mlp:300-100"),
        (("--target-time", 0.3, "--target-zeros", 0.9), "wanted one target"),
        (("--method", "dense", "--target-zeros", 0.9), "method dense takes no target"),
        (("--target-zeros", 95), "target_zeros is 95.0, wanted a part between 0 and 1"),
        (("--epochs", 1), "epochs is 1, wanted at least 3"),
        (("--lr", -1), "lr is -1.0, wanted a number above 0"),
        (("--resume",), "--resume wants --output"),
        (("--resume", "--output", "nowhere"), "nowhere holds no training"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(espalier, words, message: str) -> None:
    outcome = espalier("train", *words)
    assert outcome.returncode == 2 and message in outcome.stderr
    assert outcome.stderr.count("\n") == 1 and not outcome.stdout
    assert not list(Path().iterdir())


def test_resuming_with_other_words_is_refused(espalier) -> None:
    espalier("train", *QUICK, "--method", "dense", "--epochs", 1, "--output", "run")
    outcome = espalier("train", "--output", "run", "--resume", "--seed", 4)
    assert outcome.returncode == 2 and "seed is 4, was 0" in outcome.stderr
    outcome = espalier("train", *QUICK, "--output", "run")
    assert outcome.returncode == 2 and "holds a training already" in outcome.stderr


def test_a_diverging_training_says_where(espalier) -> None:
    outcome = espalier("train", *QUICK, "--method", "dense", "--lr", 1e30, "--output", "run")
    assert outcome.returncode == 2
    assert "in epoch 1, step" in outcome.stderr and "lower learning rate" in outcome.stderr


def test_an_interrupt_says_how_to_go_on(espalier) -> None:
    words = [*map(str, QUICK), "--epochs", "100000", "--method", "dense", "--output", "run"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "train", *words], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        while "epoch 2 " not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "stopped; go on with: espalier train --output run --resume" in said
    assert "error: interrupted" in said
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert epochs == list(range(1, len(epochs) + 1)) and len(epochs) >= 2


def test_compact_a_folder(espalier) -> None:
    espalier("train", *FIVE, "--output", "run")
    outcome = espalier("compact", "run", "--json")
    assert outcome.returncode == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["model"] == "run/compact.safetensors" and Path(result["model"]).exists()


def test_compact_a_folder_without_a_checkpoint(espalier) -> None:
    espalier("train", *FIVE, "--output", "run")
    for path in Path("run/checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    outcome = espalier("compact", "run")
    assert outcome.returncode == 2 and "run has no whole checkpoint yet" in outcome.stderr
    assert "none is whole" in outcome.stderr and not Path("run/compact.safetensors").exists()


def test_a_network_of_which_nothing_is_left_is_named(espalier) -> None:
    words = ("--model", "mlp:8", "--method", "rigl", "--target-zeros", 0.9999, "--epochs", 2)
    outcome = espalier("train", *words, "--time", "macs", "--threads", 1, "--output", "run")
    assert outcome.returncode in (0, 1), outcome.stderr
    assert "no weight is left: the network gives the same answer" in outcome.stdout
    outcome = espalier("compact", "run", "--output", "small.safetensors")
    assert "no weight is left" in outcome.stdout and "Traceback" not in outcome.stderr


def test_compact_a_file(espalier) -> None:
    import torch

    from espalier import fssl
    from espalier.nn.networks import MLP

    torch.manual_seed(0)
    model = MLP([64, 32, 16, 10])
    with torch.no_grad():
        model[1].weight[8:] = 0.0
        model[1].bias[8:] = 0.0
    spec = {"spec": "mlp:32-16", "in_channels": 1, "size": 8, "num_classes": 10}
    fssl.save(model, "model.safetensors", spec=spec)
    fssl.save(model, "nameless.safetensors")
    outcome = espalier("compact", "nameless.safetensors")
    assert outcome.returncode == 2 and "does not say how to build its model" in outcome.stderr
    words = ("--output", "s.safetensors", "--time", "macs")
    outcome = espalier("compact", "model.safetensors", *words)
    assert outcome.returncode == 0, outcome.stderr
    assert "gain" in outcome.stdout
    small, images = fssl.load("s.safetensors"), torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(small(images), model(images))
    assert small[1].out_features == 8
    before = Path("model.safetensors").read_bytes()
    for words in (("--output", "model.safetensors"), ("--output", "./model.safetensors")):
        outcome = espalier("compact", "model.safetensors", *words)
        assert outcome.returncode == 2 and "is MODEL itself" in outcome.stderr
    assert Path("model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere does not exist, wanted a saved model or the folder"),
        ((".",), "holds no training"),
        (("junk",), "junk"),
        (("junk", "--output", "model.onnx"), "must end in .safetensors"),
    ],
)
def test_compact_refuses_what_is_no_model(espalier, words, message: str) -> None:
    Path("junk").write_bytes(b"not a model")
    outcome = espalier("compact", *words)
    assert outcome.returncode == 2 and message in outcome.stderr


def test_the_demo_tells_the_whole_story(espalier) -> None:
    pytest.importorskip("matplotlib")
    outcome = espalier("demo", "--epochs", 8)
    assert outcome.returncode == 0, outcome.stderr
    assert "PASSED: time is" in outcome.stdout and "OTHER" not in outcome.stdout
    assert Path("espalier-demo.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_for_machines(espalier) -> None:
    pytest.importorskip("matplotlib")
    result = json.loads(espalier("demo", "--epochs", 6, "--json", "--output", "a.png").stdout)
    assert result["inference"]["same_answers"] and result["picture"] == "a.png"
    assert result["networks"][1]["weights"] < result["networks"][0]["weights"]
