"""A network measured in a process of its own: its record, its progress, its errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import espalier as esp
from benchmarks.challenge.settings import Settings, Size
from benchmarks.challenge.shortcuts import measure
from benchmarks.harness import alone
from benchmarks.harness.process import peak_memory
from benchmarks.harness.section import Record
from espalier.progress import Progress, Watch, silent

SETTINGS = Settings(networks=(Size(256, 5),), samples=100, rounds=1, threads=1)


def measure_alone(settings: Settings, name: str, watch: Watch) -> Record:
    return alone.measure_alone(partial(measure, settings, name), name, watch)


def test_progress_is_passed_on_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    stages: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def watch(task: str, unit: str) -> Iterator[Progress]:
        calls = stages.setdefault(f"{task} in {unit}", [])
        yield lambda done, total: calls.append((done, total))

    record = measure_alone(SETTINGS, "256x5", watch)
    assert record["network"] == "256x5" and record["samples"] == 100
    assert stages["256x5: compiling in layers"][-1] == (5, 5)
    assert list(stages) == [
        "making inputs of 256 pixels in images",
        "256x5: compiling in layers",
        "256x5: first run in steps",
        "256x5: running in runs",
    ]


@pytest.fixture
def on_file(tmp_path: Path) -> Settings:
    """A network, inputs and their categories on file."""
    network = esp.radixnet(256, 5)
    inputs = esp.challenge_images(256, 100)
    np.save(tmp_path / "inputs.npy", inputs.toarray())
    esp.save(network, tmp_path / "net.safetensors")
    categories = esp.infer(network, inputs).categories
    assert 0 < len(categories) < 100
    esp.save_categories(categories, tmp_path / "truth.tsv")
    return replace(
        SETTINGS,
        network_file=str(tmp_path / "net.safetensors"),
        inputs_file=str(tmp_path / "inputs.npy"),
        truth=str(tmp_path / "truth.tsv"),
    )


def test_a_network_on_file_is_checked_against_a_truth(on_file: Settings) -> None:
    (name,) = on_file.names
    record = measure_alone(on_file, name, silent)
    assert (record["network"], record["neurons"], record["layers"]) == ("net.safetensors", 256, 5)
    assert record["verdict"] == (
        f"PASSED: exactly the {record['categories']} categories of truth.tsv"
    )


def test_a_report_names_files_without_their_folders(on_file: Settings) -> None:
    public = on_file.public()
    assert public["network_file"] == "net.safetensors" and public["images"] is None
    assert public["samples"] == 100


def test_a_wrong_truth_fails(on_file: Settings) -> None:
    assert on_file.truth is not None
    esp.save_categories(np.array([0, 1, 2]), on_file.truth)
    (name,) = on_file.names
    verdict = measure_alone(on_file, name, silent)["verdict"]
    assert verdict.startswith("FAILED: ") and "too many of 3 categories" in verdict


def test_an_error_in_the_process_comes_back(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.safetensors")
    with pytest.raises(esp.EspalierError, match=r"absent\.safetensors"):
        measure_alone(replace(SETTINGS, network_file=absent), absent, silent)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; was it out of mem"),
        ("import sys; sys.exit(3)", "exit code 3 and no result"),
    ],
)
def test_a_process_that_dies_is_an_error(
    monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    monkeypatch.setattr(
        alone, "COMMAND", [sys.executable, "-c", f"import sys; sys.stdin.buffer.read(); {program}"]
    )
    with pytest.raises(esp.EspalierError, match=message):
        measure_alone(SETTINGS, "256x5", silent)


def test_peak_memory(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1000 kB\n")
    assert peak_memory(status) == 1234 * 1024
    assert peak_memory(tmp_path / "absent") > 2**20
