"""The section that times a training step: all candidates is checked first."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import pytest
import torch

from benchmarks.fssl import layer_candidates, step
from benchmarks.fssl.layer_candidates import DENSE, HAND, ROWS, SPARSELAB, TRAVELLING, Problem
from espalier import EspalierError
from espalier.progress import silent


@dataclass(frozen=True)
class Settings:
    rounds: int = 2
    step_sizes: tuple[int, ...] = (40,)
    step_densities: tuple[float, ...] = (0.5, 0.1)
    step_batch: int = 16
    forward_threads: tuple[int, ...] = (1,)

    def public(self) -> dict[str, Any]:
        return asdict(self)


@pytest.fixture
def no_sparselab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sparselab", None)


def test_everybody_is_checked_and_timed(no_sparselab: None) -> None:
    settings, before = Settings(), torch.get_num_threads()
    records = [record for job in step.SECTION.jobs(settings) for record in job(silent)]
    assert torch.get_num_threads() == before
    assert [set(record["seconds"]) for record in records] == [
        {ROWS, TRAVELLING, DENSE},
        {ROWS, TRAVELLING, DENSE, HAND},
    ]
    for record in records:
        assert record["best_peer"] in (DENSE, HAND)
        assert record["multiply_adds"] == 3 * 16 * round(1600 * record["density"])
    for table in step.SECTION.tables:
        for row in table.rows(records):
            assert len(row) == len(table.header)
    assert "sparselab is not here." in step.SECTION.notes(settings, records)


def test_sparselab_takes_part_where_it_is_installed() -> None:
    pytest.importorskip("sparselab")
    entries = step.networks(Problem.draw(40, 0.1, 16), 0.1)
    entries[SPARSELAB].step()


def test_a_candidate_that_is_wrong_is_not_timed(
    no_sparselab: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(problem: Problem) -> layer_candidates.Candidate:
        return layer_candidates.dense(problem._replace(weight=problem.weight * 1.1))

    monkeypatch.setattr(layer_candidates, "torch_csr", wrong)
    monkeypatch.setattr(step, "time_interleaved", lambda *_, **__: pytest.fail("it was timed"))
    with pytest.raises(EspalierError, match=r"torch CSR by hand: output is off by"):
        step.measure(Settings(), 40, 1, 0.1, silent)


@pytest.mark.parametrize(
    ("over_dense", "density"), [((0.5, 2.0), 0.2333), ((1.5, 2.0), 0.5), ((0.5, 0.9), None)]
)
def test_break_even_is_where_times_meet(
    over_dense: tuple[float, ...], density: float | None
) -> None:
    records = [
        {"size": 8, "threads": 1, "density": each, "over_dense": {"median": speedup}}
        for each, speedup in zip((0.5, 0.1), over_dense, strict=True)
    ]
    (found,) = step.break_evens(records[::-1])
    assert found["break_even"] == (None if density is None else pytest.approx(density, abs=0.001))
