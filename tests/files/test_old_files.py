"""Files of version 0.1 (see their README) are read, and their trainings go on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import espalier as esp
from espalier import fssl
from espalier.fssl import TimeModel
from espalier.kernels import instruction_set
from espalier.nn.networks import build
from espalier.partitioning import load_partition
from espalier.timing.processor import processor_name
from espalier.training import Folder, train

OLD = Path(__file__).with_name("written_by_0_1")
EXPECTED = json.loads((OLD / "expected.json").read_text())
METHODS = ("dense", "fssl", "magnitude", "rigl")


@pytest.mark.parametrize("name", ["network.safetensors", "network_tsv", "network.tar.gz"])
def test_networks(name):
    network = esp.load(OLD / name)
    assert [layer.clip for layer in network] == [32.0, 32.0, 32.0, None]
    inputs = np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 16)
    came = esp.infer(network, inputs).activations
    np.testing.assert_allclose(came, EXPECTED["network"], rtol=1e-6)


def test_a_layer_of_matrix_market():
    assert esp.load(OLD / "layer.mtx")[0] == esp.load(OLD / "network.safetensors")[3]


def test_a_partition():
    partition = load_partition(OLD / "partition.safetensors")
    partition.check(esp.load(OLD / "network.safetensors"))
    assert (partition.parts, partition.method, partition.seed) == (3, "hash", 2)


def test_a_compact_model():
    model = fssl.load(OLD / "model.safetensors")
    outputs = model(torch.linspace(0, 1, 16).view(1, 1, 4, 4))
    torch.testing.assert_close(outputs, torch.tensor(EXPECTED["model"]))
    assert fssl.load_metadata(OLD / "model.safetensors") == {"seed": 7}
    assert "Select" in str(model) and "units left" in str(fssl.compact_report(model))


def test_time_models():
    TimeModel.from_json((OLD / "time_macs.json").read_text())
    time = TimeModel.from_json((OLD / "time_measured.json").read_text(), elsewhere=True)
    assert time.seconds(time.sizes) == pytest.approx(EXPECTED["seconds"])


@pytest.mark.parametrize("method", METHODS)
def test_a_training_goes_on(method, tmp_path):
    folder = Folder(shutil.copytree(OLD / f"run_{method}", tmp_path / "run"))
    notices: list[str] = []
    result = train(folder.settings(), folder.path, resume=True, on_notice=notices.append)
    assert all("the last bits may differ" in notice for notice in notices)
    losses = [record.loss for record in result.history]
    assert losses[:3] == EXPECTED[method][:3]
    np.testing.assert_allclose(losses, EXPECTED[method], rtol=1e-3)


@pytest.mark.skipif(find_spec("mpi4py") is None, reason="needs mpi4py")
def test_a_training_on_ranks_goes_on(tmp_path):
    folder = shutil.copytree(OLD / "run_ranks", tmp_path / "run")
    words = ["train", "--resume", "--output", str(folder), "--ranks", "2"]
    program = [sys.executable, "-m", "espalier"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    np.testing.assert_allclose(losses, EXPECTED["ranks"], rtol=1e-3)


def test_what_was_measured_is_used_or_measured_anew(tmp_path, monkeypatch):
    """The old files under the names that this machine gave them."""
    machine = f"{processor_name()}.json"
    versions = f"1-{version('espalier')}-torch-{torch.__version__}"
    (tmp_path / "espalier").mkdir()
    for name, file in (
        ("cost", f"cost-3-{processor_name()}-{instruction_set()}.json"),
        ("layers", f"layers-{versions}-{machine}"),
        ("times", f"times-{versions}-{machine}"),
    ):
        plain = "".join(c if c.isalnum() or c == "." else "-" for c in file)
        shutil.copy(OLD / "machine_cache" / f"{name}.json", tmp_path / "espalier" / plain)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    esp.infer(esp.load(OLD / "network.safetensors"), np.ones((2, 16), np.float32))
    model, x = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU()), torch.rand(64, 64)
    esp.accelerate(model, x)(x).sum().backward()
    model = build(spec="mlp:9-8", in_channels=1, size=4, num_classes=3)
    groups = fssl.find_groups(model, torch.rand(4, 1, 4, 4))
    assert TimeModel.measure(groups, 8, threads=1).seconds((16, 9, 8)) > 0.0
