"""Figures kept for this processor: read back, shared, and never an error."""

from __future__ import annotations

import pytest

from espalier.timing.cache import MachineCache


def test_entries_are_read_back_by_whoever_has_the_same_name(tmp_path):
    MachineCache("figures-1", tmp_path).put({"key": [1.5, 2.5]})
    assert MachineCache("figures-1", tmp_path).get("key") == [1.5, 2.5]
    assert MachineCache("figures-1", tmp_path).get("other") is None
    assert MachineCache("figures-2", tmp_path).get("key") is None


def test_two_processes_keep_each_others_entries(tmp_path):
    mine, theirs = MachineCache("figures", tmp_path), MachineCache("figures", tmp_path)
    assert mine.get("a") is None and theirs.get("a") is None
    mine.put({"a": 1})
    theirs.put({"b": 2})
    fresh = MachineCache("figures", tmp_path)
    assert (fresh.get("a"), fresh.get("b")) == (1, 2)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1', "\0\xff"])
def test_a_damaged_file_is_empty(tmp_path, text):
    cache = MachineCache("figures", tmp_path)
    cache.put({"a": 1})
    (file,) = (tmp_path / "espalier").iterdir()
    file.write_bytes(text.encode("latin-1"))
    again = MachineCache("figures", tmp_path)
    assert again.get("a") is None
    again.put({"b": 2})
    assert MachineCache("figures", tmp_path).get("b") == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "espalier").write_text("in the way")
    cache = MachineCache("figures", tmp_path)
    cache.put({"a": 1})
    assert cache.get("a") == 1


def test_the_folder_is_the_users_cache_when_asked(tmp_path, monkeypatch):
    cache = MachineCache("figures")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.put({"a": 1})
    (file,) = (tmp_path / "espalier").iterdir()
    assert file.name.startswith("figures-")
