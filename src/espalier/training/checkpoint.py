"""Checkpoints: one safetensors file an epoch, checked by its own sum, the last two kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.streams import reading
from espalier.training.state_tree import pack, unpack

FORMAT, FORMAT_VERSION = "espalier-checkpoint", "1"
KEPT = 2
NAME = "epoch-{:05d}.safetensors"
PATTERN = re.compile(r"epoch-(\d{5,})\.safetensors")


class Checkpoint(NamedTuple):
    """What was read: the epochs that were done, and the state after them."""

    epochs: int
    state: dict[str, Any]


def write(folder: Path, epochs: int, state: Mapping[str, Any]) -> Path:
    """Write the state after so many epochs, then remove all files but it and the one before.

    Later ones are of a training that was given up, since they could not be read.

    Raises:
        FileError: it cannot be written; the older ones stay.
    """
    tree, tensors = pack(state)
    text = json.dumps({"epochs": epochs, "state": tree})
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "state": text,
        "sha256": _checksum(text, tensors),
    }
    path = folder / NAME.format(epochs)
    with replacing_file(path) as file:
        file.write(save(tensors, metadata))
    for old in outdated(_newest_first(folder), path):
        old.unlink(missing_ok=True)
    return path


def outdated(newest_first: Sequence[Path], written: Path) -> list[Path]:
    """The checkpoints to remove once one is written: those after it, and old ones before it.

    >>> [path.name for path in outdated([Path("4"), Path("3"), Path("2"), Path("1")], Path("3"))]
    ['4', '1']
    """
    place = newest_first.index(written)
    return [*newest_first[:place], *newest_first[place + KEPT :]]


def read(path: Path) -> Checkpoint:
    """Read one checkpoint and check every bit of it.

    Raises:
        FileError: the file is missing, cut short, damaged or no checkpoint.
    """
    try:
        with reading(path), safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileError(f"{path} is damaged or cut short ({error})") from error
    if metadata.get("format") != FORMAT:
        raise FileError(f"{path} is no checkpoint of a training")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise FileError(
            f"{path} is a checkpoint of version {metadata.get('format_version')}, wanted "
            f"{FORMAT_VERSION}: it was written by another release of espalier"
        )
    text = metadata.get("state", "")
    if metadata.get("sha256") != _checksum(text, tensors):
        raise FileError(f"{path} is damaged: its content does not match its checksum")
    content = json.loads(text)
    return Checkpoint(content["epochs"], unpack(content["state"], tensors))


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[FileError]]:
    """The newest checkpoint that is whole, or None, and why newer ones were refused."""
    refused: list[FileError] = []
    for path in _newest_first(folder):
        try:
            return read(path), refused
        except FileError as error:
            refused.append(error)
    return None, refused


def remove_drafts(folder: Path) -> None:
    """Remove what a kill in the middle of a write has left behind."""
    for draft in folder.glob(".*.partial"):
        draft.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    matches = {path: PATTERN.fullmatch(path.name) for path in folder.glob("epoch-*.safetensors")}
    epochs = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(epochs, key=lambda path: epochs[path], reverse=True)


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return digest.hexdigest()
