"""A partition: the part of every neuron of a network, checked, saved and read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from espalier.errors import FileError, InputError
from espalier.files.container import Format, read_tensors, write_tensors
from espalier.network import Network
from espalier.partitioning.report import PEERS, PartitionReport
from espalier.progress import Progress

PARTITION = Format("espalier-partition", 2, ("partition",))


@dataclass(frozen=True, eq=False)
class Partition:
    """The part of every neuron.

    A part computes its rows; before every layer it is sent what they read and others own.

    Arguments:
        parts: how many there are.
        owners: ``owners[0]`` is the part of every input and ``owners[l + 1]`` of every row of
            layer ``l``; int32, 0 to ``parts - 1``.
        method: how it was made.
        seed: of that method.

    Raises:
        InputError: an owner that is no part.

    Source: Demirci and Ferhatosmanoglu, ICS 2021, the row-wise partition of every layer.

    >>> Partition(2, [np.array([0, 1], np.int32), np.array([1], np.int32)], "block").owners[1]
    array([1], dtype=int32)
    """

    parts: int
    owners: Sequence[NDArray[np.int32]]
    method: str
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or self.parts < 1:
            raise InputError(f"parts is {self.parts!r}, wanted a whole number from 1 up")
        checked = [
            checked_owners(f"owners[{index}]", each, self.parts)
            for index, each in enumerate(self.owners)
        ]
        for each in checked:
            each.flags.writeable = False
        object.__setattr__(self, "owners", checked)

    def __repr__(self) -> str:
        layers = f"{len(self.owners) - 1} layers"
        return f"Partition({self.parts} parts, {layers}, {self.method}, {self.fingerprint[:8]})"

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
        if len(network) != len(self.owners) - 1:
            raise InputError(
                f"the partition has {len(self.owners) - 1} layers, the network has "
                f"{len(network)}: it belongs to another; partition this network"
            )
        widths = [network.inputs, *(network.shape(index)[0] for index in range(len(network)))]
        for index, (owners, width) in enumerate(zip(self.owners, widths, strict=True)):
            if len(owners) != width:
                place = f"rows of layer {index - 1}" if index else "inputs"
                raise InputError(
                    f"the partition has owners for {len(owners):,} {place}, the network has "
                    f"{width:,}: it belongs to another; partition this network"
                )

    def report(
        self,
        network: Network,
        *,
        peers: Sequence[str] = PEERS,
        progress: Progress | None = None,
    ) -> PartitionReport:
        """What the parts send each other, beside random rows and blocks of rows.

        Arguments:
            network: the one that was partitioned; its layers are read once.
            peers: the methods to stand beside.
            progress: called as ``progress(done, total)`` layers.
        """
        self.check(network)
        return PartitionReport.count(
            network,
            self.parts,
            self.owners,
            self.method,
            self.seed,
            peers=peers,
            progress=progress,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file; what was there stays until the new one is whole.

        Raises:
            FileError: it cannot be written.
        """
        narrow = np.min_scalar_type(self.parts - 1)
        arrays = {f"owners.{index}": each.astype(narrow) for index, each in enumerate(self.owners)}
        about = {"parts": self.parts, "method": self.method, "seed": self.seed}
        write_tensors(Path(path), PARTITION, {"partition": about}, save_arrays(arrays))


def checked_owners(name: str, owners: ArrayLike, parts: int) -> NDArray[np.int32]:
    """A copy of the parts that own some neurons.

    Raises:
        InputError: they are no parts from 0 to ``parts - 1``.
    """
    given = np.asarray(owners)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise InputError(f"{name} is {given.dtype} {list(given.shape)}, wanted ints")
    if len(given) and not 0 <= given.min() <= given.max() < parts:
        raise InputError(
            f"{name} holds parts {given.min()} to {given.max()}, wanted 0 to {parts - 1}"
        )
    return given.astype(np.int32)


def load_partition(path: str | os.PathLike[str]) -> Partition:
    """Read a partition that `Partition.save` wrote.

    Raises:
        FileError: the file is missing, cut short, damaged, or no partition.
    """
    path = Path(path)
    try:
        contents = read_tensors(path, PARTITION, load_arrays, _checksum_1)
        return _partition_of(contents.values["partition"], contents.tensors)
    except (KeyError, ValueError, TypeError, InputError) as error:
        raise FileError(
            f"{path} is damaged ({type(error).__name__}: {error}); partition anew"
        ) from error


def _partition_of(about: Any, arrays: Mapping[str, NDArray[Any]]) -> Partition:
    owners = [arrays[f"owners.{index}"] for index in range(len(arrays))]
    return Partition(about["parts"], owners, about["method"], about["seed"])


def _checksum_1(metadata: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    about = metadata["partition"]
    fingerprint = _partition_of(json.loads(about), arrays).fingerprint
    return hashlib.sha256(f"{about} {fingerprint}".encode()).hexdigest()
