"""Hostile safetensors: a `FileError`, never a crash, an allocation or a wrong network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier import EspalierError, FileError, InputError
from tests.files.networks import small_network

Header = dict[str, Any]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    esp.save(small_network(), path)
    return path


def split(path: Path) -> tuple[Header, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(path: Path, header: Header, data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def set_layer(header: Header, index: int, **changes: Any) -> None:
    layers = json.loads(header["__metadata__"]["layers"])
    layers[index].update(changes)
    header["__metadata__"]["layers"] = json.dumps(layers)


CHANGES: list[tuple[str, Callable[[Header], Any], str]] = [
    ("dtype", lambda h: h["0.values"].update(dtype="F64"), "0.values is"),
    ("shape", lambda h: h["0.values"].update(shape=[4]), "0.values is"),
    ("two dimensions", lambda h: h["0.values"].update(shape=[3, 1]), "0.values is"),
    ("huge shape", lambda h: h["0.values"].update(shape=[1 << 60]), "0.values is"),
    ("more keys", lambda h: h["0.values"].update(extra=1), "0.values is"),
    ("no offsets", lambda h: h["0.values"].pop("data_offsets"), "lies at None"),
    ("odd offsets", lambda h: h["0.values"].update(data_offsets=["0", 12]), "lies at"),
    ("offsets beyond", lambda h: h["2.bias"].update(data_offsets=[1 << 62, (1 << 62) + 4]), "gap"),
    ("negative", lambda h: h["0.values"].update(data_offsets=[-12, 0]), "lies at"),
    ("overlap", lambda h: h["0.values"].update(data_offsets=[0, 12]), "overlaps"),
    ("not an object", lambda h: h.update({"0.bias": 3}), "lacks the tensor 0.bias"),
    ("missing", lambda h: h.pop("1.bias"), "lacks the tensor 1.bias"),
    ("one more", lambda h: h.update({"9.bias": h["1.bias"]}), "'9.bias'"),
    ("no metadata", lambda h: h.pop("__metadata__"), "without metadata"),
    ("other format", lambda h: h["__metadata__"].update(format="pt"), "format 'pt'"),
    ("newer", lambda h: h["__metadata__"].update(format_version="9"), "format version '9'"),
    ("no layers", lambda h: h["__metadata__"].update(layers="[]"), "no list of layers"),
    ("layers no text", lambda h: h["__metadata__"].update(layers=[]), "no list of layers"),
    ("layers no JSON", lambda h: h["__metadata__"].update(layers="[{"), "JSON"),
    ("deep JSON", lambda h: h["__metadata__"].update(layers="[" * 100_000), "JSON"),
    ("negative size", lambda h: set_layer(h, 0, nonzeros=-1), "nonzeros=-1"),
    ("size is text", lambda h: set_layer(h, 0, outputs="2"), "outputs='2'"),
    ("huge layer", lambda h: set_layer(h, 1, outputs=1 << 31), "outputs=2147483648"),
    ("huge count", lambda h: set_layer(h, 1, nonzeros=1 << 47), "1.column_indices is"),
    ("widths apart", lambda h: set_layer(h, 1, inputs=3), "has 2 outputs, but layer 1 reads 3"),
    ("activation", lambda h: set_layer(h, 0, activation="tanh"), "activation is 'tanh'"),
    ("clip", lambda h: set_layer(h, 0, clip=-1), "clip is -1"),
    ("clip is text", lambda h: set_layer(h, 0, clip="x"), "clip"),
]


@pytest.mark.parametrize(
    ("change", "message"), [entry[1:] for entry in CHANGES], ids=[entry[0] for entry in CHANGES]
)
def test_hostile_headers(saved: Path, change: Callable[[Header], Any], message: str) -> None:
    header, data = split(saved)
    change(header)
    rewrite(saved, header, data)
    with pytest.raises(FileError, match=message):
        esp.load(saved, lazy=False)


@pytest.mark.parametrize(
    ("tensor", "values", "message"),
    [
        ("0.row_offsets", [0, 3, 1], "must rise from 0 to 3"),
        ("0.row_offsets", [0, -1, 3], "must rise"),
        ("0.row_offsets", [1, 1, 3], "must rise"),
        ("0.row_offsets", [0, 1, 2], "must rise"),
        ("0.row_offsets", [0, 1 << 40, 3], "must rise"),
        ("0.row_offsets", [0, (1 << 32) + 1, 3], "must rise"),
        ("0.column_indices", [1, 0, 3], "column index 3 lies outside"),
        ("0.column_indices", [1, -1, 2], "column index -1 lies outside"),
        ("0.column_indices", [1, 2, 2], "appears twice"),
        ("0.values", [1, np.nan, 2], "finite"),
        ("0.bias", [1, np.inf], "finite"),
    ],
)
def test_hostile_tensors(saved: Path, tensor: str, values: list[float], message: str) -> None:
    header, data = split(saved)
    start, end = header[tensor]["data_offsets"]
    dtype = {"I64": "<i8", "I32": "<i4", "F32": "<f4"}[header[tensor]["dtype"]]
    rewrite(saved, header, data[:start] + np.array(values, dtype).tobytes() + data[end:])
    network = esp.load(saved)
    with pytest.raises(FileError, match=message):
        network[0]
    with pytest.raises(FileError, match=message):
        esp.load(saved, lazy=False)


def test_truncated(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in range(0, len(whole), 7):
        saved.write_bytes(whole[:size])
        with pytest.raises(FileError):
            esp.load(saved)
    saved.write_bytes(whole + b"\0")
    with pytest.raises(FileError, match="its tensors end at"):
        esp.load(saved)


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_header_length(saved: Path, length: int) -> None:
    saved.write_bytes(length.to_bytes(8, "little") + saved.read_bytes()[8:])
    with pytest.raises(FileError):
        esp.load(saved)


def test_arguments_that_the_file_answers(saved: Path) -> None:
    with pytest.raises(InputError, match=r"bias=0\.5 was given"):
        esp.load(saved, bias=0.5)


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_fuzzed_bytes(changes: list[tuple[float, int]], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    esp.save(small_network(), path)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[int(place * len(content))] = byte
    path.write_bytes(content)
    try:
        network = esp.load(path)
        layers = list(network)
    except EspalierError:
        return
    for layer in layers:
        assert layer.row_offsets[-1] == len(layer.values)
        assert layer.nonzeros == 0 or 0 <= layer.column_indices.max() < layer.inputs
        assert np.isfinite(layer.values).all()
