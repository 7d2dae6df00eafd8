"""The container says of every file what it is, whether it is whole, and who reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import espalier as esp
from espalier import FileError
from espalier.files import container
from espalier.files.container import READERS, Format, read_json, read_tensors, write_json

EXAMPLE = Format("example", 2, ("about",))
ARRAYS = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "none": np.zeros((0, 2), np.float32)}


def write(path: Path, file_format: Format = EXAMPLE) -> Path:
    values = {key: {"epochs": 3} for key in file_format.keys}
    container.write_tensors(path, file_format, values, safetensors.numpy.save(ARRAYS))
    return path


def read(path: Path, file_format: Format = EXAMPLE) -> container.Contents[np.ndarray]:
    return read_tensors(path, file_format, safetensors.numpy.load, lambda *_: "")


def test_it_comes_back_and_other_programs_read_it(tmp_path):
    path = write(tmp_path / "file")
    contents = read(path)
    assert contents.values == {"about": {"epochs": 3}}
    for tensors in (contents.tensors, safetensors.numpy.load_file(path)):
        assert all((tensors[name] == array).all() for name, array in ARRAYS.items())
        assert tensors.keys() == ARRAYS.keys()
        assert tensors["none"].shape == (0, 2)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(tmp_path, place, bit):
    path = write(tmp_path / "file")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(FileError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize("name", READERS)
def test_another_file_of_ours_is_named_with_its_reader(name, tmp_path):
    what, reader = READERS[name]
    write(tmp_path / "file", Format(name, 1, ("about",)))
    write_json(tmp_path / "json", Format(name, 1), {})
    for attempt in (
        lambda: read(tmp_path / "file"),
        lambda: read_json(tmp_path / "json", EXAMPLE),
    ):
        with pytest.raises(FileError, match=f"a {what}, which {reader} reads, and no example"):
            attempt()


def test_files_of_the_library_are_told_apart(tmp_path):
    network = esp.radixnet(64, 1)
    esp.partition(network, 2, "block").save(tmp_path / "net.safetensors")
    with pytest.raises(FileError, match=r"a partition, which espalier\.load_partition reads"):
        esp.load(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pt"}, "has format 'pt', wanted 'example': it is no example"),
        ({"format_version": 3}, "version '3', this espalier reads up to 2; a newer espalier"),
        ({"format_version": "x"}, "version 'x'"),
        ({"format_version": 0}, "version '0'"),
        ({"about": {}}, "does not match its checksum"),
    ],
)
def test_what_a_json_file_says_is_checked(change, message, tmp_path):
    path = tmp_path / "run.json"
    write_json(path, EXAMPLE, {"about": {"epochs": 3}})
    assert read_json(path, EXAMPLE) == {"about": {"epochs": 3}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match=message):
        read_json(path, EXAMPLE)


def test_a_missing_part_is_named(tmp_path):
    more = EXAMPLE._replace(keys=("about", "more"))
    with pytest.raises(FileError, match="lacks 'more'"):
        read(write(tmp_path / "file"), more)
    write_json(tmp_path / "json", EXAMPLE, {"about": {}})
    with pytest.raises(FileError, match="lacks 'more'"):
        read_json(tmp_path / "json", more)


def test_a_value_that_is_no_object_is_refused(tmp_path):
    content = safetensors.numpy.save(ARRAYS)
    container.write_tensors(tmp_path / "file", EXAMPLE, {"about": [1]}, content)
    with pytest.raises(FileError, match=r"about in .*file is no JSON object"):
        read(tmp_path / "file")
    (tmp_path / "json").write_text("[]")
    with pytest.raises(FileError, match="no JSON object"):
        read_json(tmp_path / "json", EXAMPLE)
