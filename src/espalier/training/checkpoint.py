"""Checkpoints: one safetensors file an epoch, checked by its own sum, the last two kept.

A state, such as any torch optimiser's, becomes flat tensors and JSON, without pickle.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from espalier.errors import FileError, InputError
from espalier.files.container import Format, read_tensors, write_tensors

CHECKPOINT = Format("espalier-checkpoint", 2, ("state",))
KEPT = 2
NAME, SUFFIX = "epoch-{:05d}", ".safetensors"
TENSOR, TUPLE, PAIRS = "$tensor", "$tuple", "$pairs"  # of a state


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
    path = folder / (NAME.format(epochs) + SUFFIX)
    write_tensors(path, CHECKPOINT, {"state": {"epochs": epochs, "state": tree}}, save(tensors))
    for old in outdated(newest_first(folder), path):
        old.unlink(missing_ok=True)
    return path


def outdated(checkpoints: Sequence[Path], written: Path) -> list[Path]:
    """The checkpoints to remove once one is written: those after it, and old ones before it.

    Arguments:
        checkpoints: all of them, the newest first.

    >>> [path.name for path in outdated([Path("4"), Path("3"), Path("2"), Path("1")], Path("3"))]
    ['4', '1']
    """
    place = checkpoints.index(written)
    return [*checkpoints[:place], *checkpoints[place + KEPT :]]


def read(path: Path) -> Checkpoint:
    """Read one checkpoint and check every bit of it.

    Raises:
        FileError: the file is missing, cut short, damaged or no checkpoint.
    """
    contents = read_tensors(path, CHECKPOINT, load, _checksum_1)
    content = contents.values["state"]
    try:
        return Checkpoint(content["epochs"], unpack(content["state"], contents.tensors))
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is damaged: its state lacks or misuses {error}") from error


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[FileError]]:
    """The newest checkpoint that is whole, or None, and why newer ones were refused."""
    refused: list[FileError] = []
    for path in newest_first(folder):
        try:
            return read(path), refused
        except FileError as error:
            refused.append(error)
    return None, refused


def remove_drafts(folder: Path) -> None:
    """Remove what a kill in the middle of a write has left behind."""
    for draft in folder.glob(".*.partial"):
        draft.unlink(missing_ok=True)


def newest_first(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    """The checkpoints in a folder, whole or not."""
    pattern = re.compile(rf"epoch-(\d{{5,}}){re.escape(suffix)}")
    matches = {path: pattern.fullmatch(path.name) for path in folder.glob("epoch-*")}
    epochs = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(epochs, key=lambda path: epochs[path], reverse=True)


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split a state into JSON and tensors; `unpack` puts it together again, types and all.

    Arguments:
        state: dicts, lists and tuples of tensors, numbers, texts, booleans and None.

    Returns:
        The JSON value, and the tensors it names: copies that share no memory.

    Raises:
        InputError: something else is in it.

    >>> tree, tensors = pack({0: torch.ones(2), "betas": (0.9, 0.999)})
    >>> unpack(tree, tensors)
    {0: tensor([1., 1.]), 'betas': (0.9, 0.999)}
    """
    tensors: dict[str, Tensor] = {}
    return _pack(state, "", tensors), tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that `pack` was given.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TENSOR in tree:
        return tensors[tree[TENSOR]]
    if TUPLE in tree:
        return tuple(unpack(item, tensors) for item in tree[TUPLE])
    if PAIRS in tree:
        return {key: unpack(value, tensors) for key, value in tree[PAIRS]}
    return {key: unpack(value, tensors) for key, value in tree.items()}


def _pack(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors[name] = state.detach().clone(memory_format=torch.contiguous_format)
        return {TENSOR: name}
    if isinstance(state, Mapping):
        packed = [(key, _pack(value, f"{name}/{key}", tensors)) for key, value in state.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
            return dict(packed)
        return {PAIRS: [[key, value] for key, value in packed]}
    if isinstance(state, list | tuple):
        items = [_pack(item, f"{name}/{index}", tensors) for index, item in enumerate(state)]
        return {TUPLE: items} if isinstance(state, tuple) else items
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise InputError(
        f"state{name} is a {type(state).__name__}, wanted tensors, numbers, texts and None alone"
    )


def _checksum_1(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(metadata["state"].encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return digest.hexdigest()
