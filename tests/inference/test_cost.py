"""The cost model: measured once, kept, and never trusted blindly."""

from __future__ import annotations

import json

import pytest

from espalier.inference.cost import BLOCK_HEIGHTS, TILES, WIDTHS, CostModel
from espalier.kernels import instruction_set

load = CostModel.load  # as it is before a fixture fixes it


@pytest.fixture(scope="module")
def measured() -> CostModel:
    return CostModel.measure()


def test_a_measured_model_is_sound(measured):
    assert measured.checked() is measured
    for tile in TILES:
        for width in WIDTHS:
            assert measured.rows_seconds(32, width, tile) > 0
            for height in BLOCK_HEIGHTS:
                assert measured.block_seconds(height, 32, width, tile) > 0


def test_costs_grow_with_the_work(measured):
    assert measured.rows_seconds(200, 1024, 32) > measured.rows_seconds(100, 1024, 32)
    assert measured.block_seconds(24, 32, 1024, 32) > measured.block_seconds(8, 32, 1024, 32)
    assert measured.scatter_seconds(200, 4) > measured.scatter_seconds(100, 4)
    assert measured.load_seconds(200, 1024) > measured.load_seconds(100, 1024)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tables: tables.pop("scatter"),
        lambda tables: tables["rows"].pop(),
        lambda tables: tables.update(panel_load=[-1.0] * len(WIDTHS)),
        lambda tables: tables.update(scatter=["a", "b"]),
        lambda tables: tables.update(more=1),
    ],
)
def test_a_damaged_cache_is_measured_again(measured, damage, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(CostModel, "measure", classmethod(lambda cls: measured))
    assert load() == measured
    (cache,) = (tmp_path / "espalier").iterdir()
    tables = json.loads(cache.read_text())
    damage(tables[instruction_set()])
    cache.write_text(json.dumps(tables))
    assert load() == measured
    assert json.loads(cache.read_text()) == {instruction_set(): vars(measured)}


def test_a_cache_that_cannot_be_written_is_done_without(measured, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(CostModel, "measure", classmethod(lambda cls: measured))
    assert load() == measured
