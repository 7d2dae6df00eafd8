"""A partition: the part of every neuron of a network, checked, saved and read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_arrays

from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_file
from espalier.files.streams import reading
from espalier.network import Network

if TYPE_CHECKING:
    from espalier.partitioning.report import PartitionReport

FORMAT, FORMAT_VERSION = "espalier-partition", "1"


@dataclass(frozen=True, eq=False)
class Partition:
    """The part of every neuron.

    Arguments:
        parts: how many there are.
        owners: ``owners[0]`` is the part of every input and ``owners[l + 1]`` of every row of
            layer ``l``; int32, 0 to ``parts - 1``.
        method: how it was made.
        seed: of that method.

    Raises:
        InputError: an owner that is no part.

    >>> Partition(2, [np.array([0, 1], np.int32), np.array([1], np.int32)], "block").owners[1]
    array([1], dtype=int32)
    """

    parts: int
    owners: Sequence[NDArray[np.int32]]
    method: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise InputError(f"parts is {self.parts}, wanted 1 or more")
        checked = []
        for index, given in enumerate(self.owners):
            each = np.asarray(given)
            if each.ndim != 1 or (each.dtype.kind not in "iu" and each.size):
                raise InputError(f"owners[{index}] is {each.dtype} {list(each.shape)}, wanted ints")
            if len(each) and not 0 <= each.min() <= each.max() < self.parts:
                raise InputError(
                    f"owners[{index}] holds parts {each.min()} to {each.max()}, wanted 0 to "
                    f"{self.parts - 1}"
                )
            checked.append(np.ascontiguousarray(each, np.int32))
        object.__setattr__(self, "owners", checked)

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of parts and owners: equal partitions have equal ones."""
        digest = hashlib.sha256(str(self.parts).encode())
        for each in self.owners:
            digest.update(len(each).to_bytes(8, "little"))
            digest.update(each.astype("<i4").tobytes())
        return digest.hexdigest()

    def check(self, network: Network) -> None:
        """Refuse a partition of another network.

        Raises:
            InputError: its layers are not as wide as the network's.
        """
        wanted = [network.inputs, *(network.shape(index)[0] for index in range(len(network)))]
        found = [len(each) for each in self.owners]
        if found != wanted:
            differ = next(
                (n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b),
                min(len(found), len(wanted)),
            )
            raise InputError(
                f"the partition is of {len(found) - 1} layers, {found[:1]} inputs; the network has "
                f"{len(wanted) - 1} layers; they differ first at neurons {differ}: partition this "
                "network"
            )

    def report(
        self, network: Network, *, progress: Callable[[int, int], None] | None = None
    ) -> PartitionReport:
        """What the parts send each other, beside random rows and blocks of rows.

        Arguments:
            network: the one that was partitioned; its layers are read once.
            progress: called as ``progress(done, total)`` layers.
        """
        from espalier.partitioning.report import PartitionReport

        return PartitionReport.of(self, network, progress=progress)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file; what was there stays until the new one is whole.

        Raises:
            FileError: it cannot be written.
        """
        about = {"parts": self.parts, "method": self.method, "seed": self.seed}
        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "partition": json.dumps(about),
            "sha256": self.fingerprint,
        }
        narrow = np.min_scalar_type(self.parts - 1)
        arrays = {f"owners.{index}": each.astype(narrow) for index, each in enumerate(self.owners)}
        with replacing_file(Path(path)) as file:
            file.write(save_arrays(arrays, metadata))


def load_partition(path: str | os.PathLike[str]) -> Partition:
    """Read a partition that `Partition.save` wrote.

    Raises:
        FileError: the file is missing, cut short, damaged, or no partition.
    """
    path = Path(path)
    try:
        with reading(path), safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileError(f"{path} is damaged, cut short or no partition ({error})") from error
    if metadata.get("format") != FORMAT:
        raise FileError(f"{path} is no partition")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise FileError(
            f"{path} is a partition of version {metadata.get('format_version')}, wanted "
            f"{FORMAT_VERSION}: it was written by another release of espalier"
        )
    try:
        about = json.loads(metadata["partition"])
        owners = [arrays[f"owners.{index}"] for index in range(len(arrays))]
        partition = Partition(about["parts"], owners, about["method"], about["seed"])
    except (KeyError, ValueError, TypeError, InputError) as error:
        raise FileError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if partition.fingerprint != metadata.get("sha256"):
        raise FileError(f"{path} is damaged: its content does not match its checksum")
    return partition
