"""The one container of what we write: JSON alone, or tensors in safetensors with JSON beside them.

Each file names its format and the version of it, and has a checksum of all that it says, so that
a flipped bit is an error and not another value. Format of the tensors:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from safetensors import SafetensorError

from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.streams import reading

T = TypeVar("T")

FORMAT, VERSION, CHECKSUM, METADATA = "format", "format_version", "sha256", "__metadata__"
LENGTH_BYTES = 8
# The limit of safetensors itself on its JSON header.
MAX_HEADER_BYTES = 100_000_000
# What a file of each format holds, and what reads it.
READERS = {
    "espalier-network": ("network", "espalier.load"),
    "espalier-model": ("model", "espalier.fssl.load"),
    "espalier-partition": ("partition", "espalier.load_partition"),
    "espalier-training": ("training in one process", "espalier train --resume"),
    "espalier-checkpoint": ("checkpoint of a training", "espalier train --resume"),
    "espalier-distributed-training": (
        "training on several ranks",
        "espalier train --resume --ranks",
    ),
    "espalier-distributed-checkpoint": (
        "checkpoint of a training on several ranks",
        "espalier train --resume --ranks",
    ),
}


class Format(NamedTuple):
    """A format, the version that is written, and the names of the JSON values in each file."""

    name: str
    version: int
    keys: Sequence[str] = ()


class Header(NamedTuple):
    """The start of a safetensors file: its metadata, its tensors, and where their bytes begin."""

    metadata: dict[str, Any]
    tensors: dict[str, Any]
    start: int


class Contents(NamedTuple, Generic[T]):
    """A safetensors file that was read and found whole."""

    values: dict[str, Any]
    tensors: dict[str, T]


def write_tensors(
    path: Path, file_format: Format, values: Mapping[str, Any], tensors: bytes
) -> None:
    """Write tensors with JSON values; what was there stays until the new file is whole.

    Arguments:
        values: JSON values by the names in ``file_format.keys``.
        tensors: as ``save`` of `safetensors.numpy` or `safetensors.torch` gives them.

    Raises:
        FileError: the file cannot be written.
    """
    start = LENGTH_BYTES + int.from_bytes(tensors[:LENGTH_BYTES], "little")
    header, data = json.loads(tensors[LENGTH_BYTES:start]), memoryview(tensors)[start:]
    texts = {key: json.dumps(values[key]) for key in file_format.keys}
    header[METADATA] = {FORMAT: file_format.name, VERSION: str(file_format.version), **texts}
    header[METADATA][CHECKSUM] = checksum(header, data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with replacing_file(path) as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        file.write(data)


def read_tensors(
    path: Path,
    file_format: Format,
    load: Callable[[bytes], dict[str, T]],
    checksum_1: Callable[[Mapping[str, Any], Mapping[str, T]], str],
) -> Contents[T]:
    """Read a file of `write_tensors` and check every bit of it.

    Arguments:
        load: of `safetensors.numpy` or `safetensors.torch`.
        checksum_1: the checksum of metadata and tensors in version 1, when every format had its
            own.

    Raises:
        FileError: the file is missing, cut short, damaged, of another format or a newer version.
    """
    with reading(path):
        content = path.read_bytes()
    metadata, tensors, start = read_header(content, str(path))
    version = check_format(metadata, file_format, str(path))
    _check_keys(metadata, file_format, path)
    wanted = metadata.pop(CHECKSUM, None)
    header = {**tensors, METADATA: metadata}
    if version > 1 and wanted != checksum(header, memoryview(content)[start:]):
        raise _changed(path)
    try:
        loaded = load(content)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise FileError(f"{path} is damaged or no safetensors file: {error}") from error
    if version == 1 and wanted != checksum_1(metadata, loaded):
        raise _changed(path)
    values = {key: parse_json(metadata[key], f"{key} in {path}") for key in file_format.keys}
    for key, value in values.items():
        if not isinstance(value, dict):
            raise FileError(f"{key} in {path} is no JSON object")
    return Contents(values, loaded)


def write_json(path: Path, file_format: Format, values: Mapping[str, Any]) -> None:
    """Write a JSON object; what was there stays until the new file is whole.

    Raises:
        FileError: it cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "about.json"
    >>> write_json(path, Format("example", 1), {"epochs": 3})
    >>> read_json(path, Format("example", 1))
    {'epochs': 3}
    """
    whole = {FORMAT: file_format.name, VERSION: file_format.version, **values}
    text = json.dumps({**whole, CHECKSUM: checksum(whole)}, indent=2)
    with replacing_file(path) as file:
        file.write(f"{text}\n".encode())


def read_json(path: Path, file_format: Format) -> dict[str, Any]:
    """The object that `write_json` was given.

    Raises:
        FileError: the file cannot be read, or is not what was written.
    """
    with reading(path):
        content = parse_json(path.read_bytes().decode(errors="replace"), str(path))
    if not isinstance(content, dict):
        raise FileError(f"{path} is no JSON object")
    check_format(content, file_format, str(path))
    if content.pop(CHECKSUM, None) != checksum(content):
        raise _changed(path)
    _check_keys(content, file_format, path)
    return {key: value for key, value in content.items() if key not in (FORMAT, VERSION)}


def checksum(header: Mapping[str, Any], data: bytes | memoryview = b"") -> str:
    """SHA-256 of a JSON object, whatever the order of its names, and the bytes behind it."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def read_header(content: bytes | mmap.mmap, name: str) -> Header:
    """Read the header of a safetensors file.

    Arguments:
        content: the whole file.
        name: the file, for messages.

    Raises:
        FileError: it is no safetensors file, or one without metadata.
    """
    if len(content) < LENGTH_BYTES:
        raise FileError(f"{name} is too short to be a safetensors file")
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(content) - LENGTH_BYTES):
        raise FileError(
            f"{name} claims a header of {length:,} bytes in a file of {len(content):,}; it is "
            "damaged or no safetensors file"
        )
    start = LENGTH_BYTES + length
    header = parse_json(content[LENGTH_BYTES:start], name)
    if not isinstance(header, dict):
        raise FileError(f"{name} has a header that is no JSON object")
    metadata = header.pop(METADATA, None)
    if not isinstance(metadata, dict):
        raise FileError(
            f"{name} is a safetensors file without metadata: damaged, or not written by espalier"
        )
    return Header(metadata, header, start)


def check_format(content: Mapping[str, Any], file_format: Format, name: str) -> int:
    """Refuse a file of another format, or of a version that this espalier does not know.

    Returns:
        the version.

    Raises:
        FileError: it says what the file is and what reads it.
    """
    found, version = content.get(FORMAT), str(content.get(VERSION, 1))
    wanted = READERS.get(file_format.name, (file_format.name,))[0]
    if found != file_format.name:
        said = f"{name} has format {found!r}, wanted {file_format.name!r}: it is "
        if isinstance(found, str) and found in READERS:
            what, reader = READERS[found]
            raise FileError(f"{said}a {what}, which {reader} reads, and no {wanted}")
        raise FileError(f"{said}no {wanted} that espalier wrote")
    if not version.isdecimal() or not 1 <= int(version) <= file_format.version:
        raise FileError(
            f"{name} is a {wanted} of format version {version!r}, this espalier reads up to "
            f"{file_format.version}; a newer espalier may read it: pip install --upgrade espalier"
        )
    return int(version)


def parse_json(text: bytes | str, name: str) -> Any:
    """Read JSON text, or say which file holds none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"{name} does not hold JSON, or is damaged: {error}") from error


def _check_keys(content: Mapping[str, Any], file_format: Format, path: Path) -> None:
    if missing := [key for key in file_format.keys if key not in content]:
        raise FileError(f"{path} is damaged: it lacks {missing[0]!r}")


def _changed(path: Path) -> FileError:
    return FileError(
        f"{path} is damaged: its content does not match its checksum; copy it anew, or write it "
        "again"
    )
