"""`espalier bench` times what computes the same, and says what does not pay or is missing."""

import json
import subprocess
import sys

import numpy as np
import pytest

from espalier.cli import bench
from espalier.cli.workloads import inference, training
from espalier.cli.workloads.workload import Workload, difference
from espalier.errors import EspalierError, MissingExtraError


def workload(theirs=1.0):
    return Workload(
        lambda: [np.ones(3)],
        {"peer": lambda: [np.full(3, theirs)]},
        lambda gains: f"gain over {', '.join(gains)}",
        {},
    )


def missing():
    raise MissingExtraError("torch", "train", "training")


@pytest.fixture
def two_rows(monkeypatch):
    rows = {"some work": workload, "no torch": missing}
    monkeypatch.setattr(bench, "workloads", lambda threads: rows)


@pytest.mark.parametrize(
    "make",
    [
        lambda: inference.challenge(40, 1024, 3, 1),
        lambda: inference.structureless(40, 64, 3, 1),
        lambda: training.small_vgg(4, 8),
        lambda: training.resnet_block(8, 2),
        lambda: training.sparse_layer(64, 8, 0.1),
    ],
)
def test_all_compute_the_same(make):
    gain = make().measure(0.0, lambda done, total: None)
    assert len(gain.gains) >= 2
    assert gain.advice.endswith(".")
    assert len(gain.advice) < 80


def test_what_differs_is_not_timed():
    with pytest.raises(EspalierError, match=r"peer differs from espalier by 0\.5"):
        workload(1.5).measure(0.0, lambda done, total: None)
    assert not difference([np.array([np.nan])], [np.ones(1)]) <= 1.0


@pytest.mark.parametrize("gain", [2.0, 1.0, 0.5])
def test_advice_names_what_is_faster(gain):
    assert ("Stay with" in inference._advice({"scipy CSR": 9.0, "torch CSR": gain})) == (gain < 2)
    assert ("Stay with" in training._sparse_advice({"nn.Linear": gain})) == (gain < 2)
    dense = training._convolution_advice({"PyTorch": gain})
    assert ("espalier.accelerate(" in dense) == (gain == 2.0)
    assert ("costs time" in dense) == (gain == 0.5)
    assert "bf16" in training._convolution_advice({"PyTorch": gain, "bf16 autocast": 0.4})


def test_table_fits_and_names_the_machine(espalier, two_rows, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = espalier("bench", "--seconds", "0", "--threads", "1")
    assert outcome.returncode == 0
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    assert "some work" in outcome.stdout
    assert "pip install" in " ".join(outcome.stdout.split())
    assert "1 threads" in " ".join(outcome.stdout.split())


def test_json_has_numbers_and_a_schema(espalier, two_rows):
    found = json.loads(espalier("bench", "--seconds", "0", "--json").stdout)
    assert found["schema"] == bench.SCHEMA
    assert {"processor", "instruction_set", "threads", "versions"} <= set(found["machine"])
    done, absent = found["rows"]
    assert done["gains"]["peer"] == done["seconds"]["peer"] / done["seconds"]["espalier"]
    assert absent["missing"].startswith("training needs torch")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["challenge", "--rounds", "3"], "python -m benchmarks challenge"),
        (["--second", "5"], "bench takes no '--second 5'"),
    ],
)
def test_what_it_does_not_take_is_named_in_one_line(espalier, words, answer):
    outcome = espalier("bench", *words)
    assert outcome.returncode == 2
    assert answer in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_rows_without_torch_say_what_adds_it():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from espalier.cli import bench\n"
        "for row in list(bench.workloads(1).items())[2:]: print(bench._measure(*row, 0.0))\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.count("needs torch") == 4
