"""JSON objects with their own checksum, so that a flipped bit is an error and not another value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.streams import reading

CHECKSUM = "sha256"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object and its checksum; what was there stays until the new file is whole.

    Raises:
        FileError: it cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "about.json"
    >>> write_json(path, {"epochs": 3})
    >>> read_json(path)
    {'epochs': 3}
    """
    whole = {**value, CHECKSUM: checksum(value)}
    with replacing_file(path) as file:
        file.write((json.dumps(whole, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object that `write_json` wrote, without its checksum.

    Raises:
        FileError: the file cannot be read, or is not what was written.
    """
    with reading(path):
        text = path.read_bytes().decode(errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({error})") from error
    if not isinstance(value, dict) or value.pop(CHECKSUM, None) != checksum(value):
        raise FileError(f"{path} is damaged: its content does not match its checksum")
    return value


def checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 of an object, whatever the order of its names, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
