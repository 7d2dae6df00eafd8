"""`espalier infer` and `python -m benchmarks challenge` with a device."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.support.gpu import emulated_gpu

NETWORK = "random:64x3:5"


@pytest.fixture
def batch(tmp_path: Any) -> Any:
    samples = np.random.default_rng(3).random((10, 64), dtype=np.float32)
    samples[::2] = 0.0
    np.save(tmp_path / "inputs.npy", samples)
    return tmp_path / "inputs.npy"


def test_a_gpu_gives_the_same_answer_and_its_own_times(espalier: Any, batch: Any) -> None:
    expected = json.loads(espalier("infer", NETWORK, batch, "--json").stdout)
    with emulated_gpu() as fake:
        found = json.loads(espalier("infer", NETWORK, batch, "--device", "cuda", "--json").stdout)
        table = espalier("infer", NETWORK, batch, "--device", "cuda:0").stdout
    assert found["categories"] == expected["categories"]
    assert set(found["seconds"]) == {"load", "compile", "run", "device"}
    assert set(found["seconds"]["device"]) == {"load", "layers", "store"}
    assert "results to host" in table and fake.launches


@pytest.mark.parametrize("strategy", ["buffer", "no-buffer", "filter"])
def test_strategies_on_a_gpu(espalier: Any, tmp_path: Any, strategy: str) -> None:
    words = ["infer", "radixnet:256x3", "digits:20", "--strategy", strategy, "--json"]
    expected = json.loads(espalier(*words).stdout)
    with emulated_gpu():
        found = json.loads(espalier(*words, "--device", "cuda").stdout)
    assert found["categories"] == expected["categories"]
    assert found["report"]["strategy"] == strategy


def test_a_machine_without_a_gpu_says_what_to_do(espalier_process: Any, batch: Any) -> None:
    result = espalier_process(
        "infer", NETWORK, batch, "--device", "cuda", CUDA_VISIBLE_DEVICES="", COLUMNS="400"
    )
    assert result.returncode == 2
    assert "error: " in result.stderr and "Traceback" not in result.stderr
    assert any(word in result.stderr for word in ("NVIDIA driver", "NVIDIA GPU", "cuda-bindings"))


def test_unknown_devices_are_bad_input(espalier: Any, batch: Any) -> None:
    result = espalier("infer", NETWORK, batch, "--device", "tpu")
    assert result.returncode == 2 and "wanted 'cpu', 'cuda' or 'cuda:N'" in result.stderr
