"""The benchmark of partitions: tables of words, and small runs on ranks."""

from __future__ import annotations

import json

import pytest

from benchmarks.partition.benchmark import PARTITION
from benchmarks.partition.settings import Settings
from espalier import InputError

SMALL = Settings(
    neurons=(256,), layers=4, parts=(2, 4), random=(64,), wide=256, deep=3, batch=16, rounds=1
)


def test_words_of_every_method_stand_in_one_table(tmp_path):
    report = PARTITION.run(SMALL, ["volume"], output=tmp_path)
    records = report.answers[0].records

    assert {(r["network"], r["parts"], r["name"]) for r in records} == {
        (network, parts, method)
        for network in ("radixnet 256 x 4", "random 64 x 4")
        for parts in (2, 4)
        for method in ("hypergraph", "random", "hash", "block")
    }
    cut = next(r for r in records if (r["name"], r["parts"]) == ("hypergraph", 4))
    assert cut["gain"] > 2.0
    assert cut["merged_words"] < cut["words"]
    assert json.loads((tmp_path / "partition.json").read_text())["sections"].keys() == {"volume"}
    assert (tmp_path / "partition.png").read_bytes()[:4] == b"\x89PNG"


def test_ranks_are_timed_in_turns_with_one_process():
    records = PARTITION.run(SMALL, ["ranks"]).answers[0].records

    assert not [record for record in records if "skipped" in record]
    works = {record["network"].partition(",")[0]: set() for record in records}
    for record in records:
        works[record["network"].partition(",")[0]].add(record["name"])
    assert works == {
        "exchange of 4": {"messages", "shared"},
        "exchange of 65": {"messages", "shared"},
        "inference": {"alone", "parts", "replicas"},
        "training step": {"alone", "parts", "replicas"},
    }


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="ranks is 0"):
        Settings(ranks=0)
    with pytest.raises(InputError, match="section is 'speed'"):
        PARTITION.run(SMALL, ["speed"])
