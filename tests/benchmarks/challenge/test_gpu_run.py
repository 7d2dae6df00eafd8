"""Every section of the benchmark on a GPU, emulated, on tiny networks."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest

import espalier as esp
from benchmarks.challenge import device_comparison, gpu_layers, shortcuts
from benchmarks.challenge.benchmark import GPU
from benchmarks.challenge.device_comparison import Seconds, compare_on_device
from benchmarks.challenge.settings import Settings, Size
from benchmarks.harness.published import BEST_EXACT_GPU, BEST_GPU
from benchmarks.harness.report import Report
from tests.support.gpu import emulated_gpu

TINY = Settings(
    networks=(Size(256, 2),),
    samples=30,
    structureless=(Size(64, 3),),
    batch=40,
    rounds=2,
    threads=1,
    device="cuda",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    pytest.importorskip("sklearn")
    with emulated_gpu(), patch.object(device_comparison, "_COPIED_BYTES", 1000):
        return GPU.run(TINY, ("all",), output=folder)


def test_every_section_has_an_answer(report: Report, folder: Path) -> None:
    assert [answer.section.name for answer in report.answers] == list(GPU.sections)
    for answer in report.answers:
        assert report.notes(answer)
        for record in answer.records:
            if "skipped" in record:
                assert "no CUDA" in record["skipped"]
                continue
            assert record["rounds"] == len(record["seconds"]["rounds"]) == 2
            assert record["seconds"]["low"] > 0.0 and record["whole_seconds"]["low"] > 0.0
    written = json.loads((folder / "gpu.json").read_text())
    assert set(written["sections"]) == set(GPU.sections)
    text = (folder / "gpu.md").read_text()
    assert "cuSPARSE SpMM" in text and "grouping and zero filter" in text


def test_both_variants_and_all_strategies_are_there(report: Report) -> None:
    by_name = {answer.section.name: answer.records for answer in report.answers}
    assert [r["name"] for r in by_name["shortcuts"]] == [shortcuts.ALL, shortcuts.EXACT]
    assert [r["strategy"] for r in by_name["strategies"]] == [
        *("buffer", "no-buffer", "filter", "espalier"),
    ]
    ours, peer = by_name["structureless"]
    assert ours["over_ours"]["median"] == 1.0 and peer["name"] == "cuSPARSE SpMM"
    assert ours["share_of_bandwidth"] > 0.0


def test_wrong_categories_are_not_timed() -> None:
    with pytest.raises(esp.EspalierError, match="categories differ from the CPU's"):
        shortcuts._check("256x6", [1], [1, 2])


@pytest.mark.parametrize("dtype", gpu_layers.TOLERANCES)
def test_layers_that_compute_something_else_are_not_timed(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from espalier.nn import SparseLinear

    options = {"dtype": getattr(torch, dtype)}
    sparse, dense = SparseLinear(30, 20, density=0.3, **options), torch.nn.Linear(30, 20, **options)
    sides = torch.randn(8, 30, **options).requires_grad_(), torch.randn(8, 20, **options)
    gpu_layers.check(sparse, dense, sides, sides)
    assert dense.weight.count_nonzero() == sparse.nonzeros
    with (
        patch.object(torch.nn.Linear, "forward", lambda self, x: 1.1 * (x @ self.weight.t())),
        pytest.raises(esp.EspalierError, match="SparseLinear: the output differs by"),
    ):
        gpu_layers.check(sparse, dense, sides, sides)


def test_a_slow_candidate_runs_fewer_rounds() -> None:
    calls = {"fast": 0, "slow": 0}

    def run(name: str) -> Seconds:
        calls[name] += 1
        return Seconds(1.0, 2.0)

    with patch.object(device_comparison, "perf_counter", iter(range(1000)).__next__):
        runs = {name: (lambda name=name: run(name)) for name in calls}
        times = compare_on_device({"slow": runs["slow"]}, rounds=7, limit=3.5)
    assert calls["slow"] == 3  # of a second each, the warm-up among them
    assert len(times["slow"].layers.rounds) == 2
    assert compare_on_device({"fast": runs["fast"]}, 7, 100.0)["fast"].whole.median == 2.0


def test_exact_times_are_never_below_the_best() -> None:
    assert BEST_EXACT_GPU.keys() == BEST_GPU.keys()
    for size, best in BEST_EXACT_GPU.items():
        assert best.seconds > BEST_GPU[size].seconds


def test_unknown_sections_and_devices_are_named() -> None:
    with pytest.raises(esp.InputError, match="section is 'peers'"):
        GPU.run(TINY, ("peers",))
