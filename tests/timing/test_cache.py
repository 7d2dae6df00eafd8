"""Figures kept for this processor: read back, shared, and never an error."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from espalier.timing.cache import MachineCache, cache_folder, read_cached, write_cached


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
    assert file.parent == cache_folder()
    assert file.name.startswith("figures-")


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    cache = MachineCache("figures")
    cache.put({"a": 1})
    assert cache.get("a") == 1
    assert MachineCache("figures").get("a") is None


def test_threads_that_write_at_once_do_not_tear_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as the first process of every container

    def write(number):
        cache = MachineCache("figures", tmp_path)
        for _ in range(25):
            cache.put({f"{number}": [number] * 1000})
            entries = json.loads(cache.path.read_text())  # maybe without this one, but whole
            assert all(entries[each] == [int(each)] * 1000 for each in entries)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [file.suffix for file in (tmp_path / "espalier").iterdir()] == [".json"]


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path):
    (tmp_path / "file").mkdir()
    write_cached(tmp_path / "file", b"bytes")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert read_cached(tmp_path / "file") == b""
