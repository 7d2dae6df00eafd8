"""Checkpoints of a partitioned training: a file for each part, and a manifest that comes last.

``epoch-00003/part-00001.safetensors`` holds the rows of one part under their numbers in the whole
model, so that any other partition can go on from it. ``manifest.json`` has the checksum of every
file; without a whole manifest there is no checkpoint. The last two are kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from espalier.distributed.comm.world import FOR_FILES, World
from espalier.distributed.training.sharding import Shard
from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.container import Format, read_json, write_json
from espalier.files.streams import reading
from espalier.training.checkpoint import NAME, Checkpoint, newest_first, outdated

CHECKPOINT = Format("espalier-distributed-checkpoint", 1, ("epochs", "parts", "files", "state"))
MANIFEST, PART = "manifest.json", "part-{:05d}.safetensors"
Named = Mapping[str, Mapping[str, Tensor]]  # tensors of one parameter's shape, by its name


def write(
    folder: Path,
    epochs: int,
    state: Mapping[str, Any],
    shards: Mapping[str, Shard],
    world: World,
) -> None:
    """Write this rank's part; all ranks do so together, and the first replica writes.

    Arguments:
        state: JSON values that are the same on every rank, and as ``"tensors"`` for each
            parameter tensors of its shape, such as itself and its momentum.

    Raises:
        FileError: it cannot be written; the older checkpoints stay.
    """
    path = folder / NAME.format(epochs)
    digest = b""
    if world.replica == 0:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make {path}: {error.strerror or error}") from error
        content = save_tensors(_pack(state["tensors"], shards, world.part))
        digest = hashlib.sha256(content).hexdigest().encode()
        with replacing_file(path / PART.format(world.part)) as file:
            file.write(content)
    world.barrier(times=FOR_FILES)
    digests = world.gather(np.frombuffer(digest, np.uint8))
    if world.rank == 0:
        sums = [bytes(each).decode() for each in digests[: world.parts]]
        manifest = {
            "epochs": epochs,
            "parts": world.parts,
            "files": sums,
            "state": {key: value for key, value in state.items() if key != "tensors"},
        }
        write_json(path / MANIFEST, CHECKPOINT, manifest)
        for old in outdated(newest_first(folder, suffix=""), path):
            shutil.rmtree(old, ignore_errors=True)
    world.barrier(times=FOR_FILES)


def read_newest(
    folder: Path, shards: Mapping[str, Shard], world: World
) -> tuple[Checkpoint | None, list[FileError]]:
    """The newest checkpoint that is whole, on every rank the same one; None where there is none.

    Arguments:
        shards: the parameters of this rank, whatever partition they follow.

    Returns:
        The checkpoint, and why newer ones were refused on this rank.
    """
    refused: list[FileError] = []
    for path in newest_first(folder, suffix=""):
        checkpoint, before = None, len(refused)
        try:
            checkpoint = read(path, shards)
        except FileError as error:
            refused.append(error)
        if not world.largest([len(refused) - before])[0]:
            return checkpoint, refused
    return None, refused


def read(path: Path, shards: Mapping[str, Shard]) -> Checkpoint:
    """The state that `write` was given, of the rows of this rank's parameters.

    Raises:
        FileError: it is not whole, damaged, or of another model.
    """
    manifest = _read_manifest(path)
    found: dict[str, dict[str, Tensor]] = {}
    pieces = list(_read_parts(path, manifest["files"]))
    for name, shard in shards.items():
        holding = [each for each in pieces if f"{name}|rows" in each]
        if shard.replicated:
            holding = holding[:1]
        if not holding:
            raise FileError(f"{path} does not know {name}: it is of another model")
        rows, counts = (
            np.concatenate([each[f"{name}|{what}"].numpy() for each in holding])
            for what in ("rows", "counts")
        )
        places = shard.find(rows, counts)
        if places is None:
            raise FileError(f"{path} lacks rows of {name}: it is of another model")
        kinds = [
            key.rpartition("|")[2]
            for key in holding[0]
            if key.startswith(f"{name}|") and not key.endswith(("|rows", "|counts"))
        ]
        found[name] = {
            kind: torch.cat([each[f"{name}|{kind}"] for each in holding])[torch.from_numpy(places)]
            for kind in kinds
        }
    return Checkpoint(manifest["epochs"], {**manifest["state"], "tensors": found})


def remove_drafts(folder: Path) -> None:
    """Remove what a kill in the middle of a write has left behind."""
    for path in [*folder.glob(".*.partial"), *folder.glob("*/.*.partial")]:
        path.unlink(missing_ok=True)
    for path in newest_first(folder, suffix=""):
        if not (path / MANIFEST).exists():
            shutil.rmtree(path, ignore_errors=True)


def _pack(tensors: Named, shards: Mapping[str, Shard], part: int) -> dict[str, Tensor]:
    packed = {}
    for name, kinds in tensors.items():
        shard = shards[name]
        if shard.replicated and part > 0:
            continue
        packed[f"{name}|rows"] = torch.tensor(shard.rows, dtype=torch.int64)
        packed[f"{name}|counts"] = torch.tensor(shard.counts, dtype=torch.int64)
        for kind, tensor in kinds.items():
            packed[f"{name}|{kind}"] = shard.pack(tensor.detach()).contiguous()
    return packed


def _read_manifest(path: Path) -> dict[str, Any]:
    if not (path / MANIFEST).exists():
        raise FileError(f"{path} is not whole: it has no manifest")
    return read_json(path / MANIFEST, CHECKPOINT)


def _read_parts(path: Path, digests: list[str]) -> Iterator[dict[str, Tensor]]:
    for part, digest in enumerate(digests):
        file = path / PART.format(part)
        with reading(file):
            content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise FileError(f"{file} is damaged: its content does not match its checksum")
        try:
            yield load_tensors(content)
        except SafetensorError as error:
            raise FileError(f"{file} is damaged ({error})") from error
