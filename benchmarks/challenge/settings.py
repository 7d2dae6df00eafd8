"""What to measure: networks, inputs, rounds, threads, and how long one figure may take."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.published import INPUTS, NETWORKS
from espalier.cuda import Device, open_device, parse_device
from espalier.errors import InputError
from espalier.generate import challenge_images, radixnet
from espalier.network import Network
from espalier.progress import Watch
from espalier.timing.interleave import ROUNDS


class Size(NamedTuple):
    """Neurons and layers; as text ``1024x120``."""

    neurons: int
    layers: int

    def __str__(self) -> str:
        return f"{self.neurons}x{self.layers}"


ALL_NETWORKS = tuple(Size(*network) for network in NETWORKS)
_PATHS = ("network_file", "images", "inputs_file", "truth")
STRUCTURELESS = (Size(1024, 120), Size(4096, 120), Size(16384, 120))


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark run; as JSON they travel to processes of their own.

    Arguments:
        networks: challenge networks to generate.
        network_file: a network on file to measure in their place.
        samples: inputs of the challenge networks.
        images: folder of MNIST's training images; None takes scikit-learn's digits.
        inputs_file: inputs on file to take in place of images.
        truth: list of categories to check the run of every network against.
        structureless: sizes of the networks without structure.
        batch: samples they run.
        rounds: timed rounds of each candidate.
        threads: threads of every candidate.
        limit: seconds the rounds of one candidate may take; slower ones run fewer rounds, or
            fewer samples, and the tables say so.
        peers: measure scipy, torch and GraphBLAS too.
        memory: budget in bytes of espalier's plans, None for half of the memory free.
        device: ``cpu``, or the GPU that `GPU`'s sections measure.
    """

    networks: tuple[Size, ...] = (Size(1024, 120),)
    network_file: str | None = None
    samples: int = INPUTS
    images: str | None = None
    inputs_file: str | None = None
    truth: str | None = None
    structureless: tuple[Size, ...] = STRUCTURELESS
    batch: int = 4096
    rounds: int = ROUNDS
    threads: int = 1
    limit: float = 120.0
    peers: bool = True
    memory: int | None = None
    device: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Settings from `to_dict`, also after a journey as JSON."""
        sizes = {
            name: tuple(Size(*size) for size in values[name])
            for name in ("networks", "structureless")
        }
        return cls(**(values | sizes))

    @property
    def names(self) -> tuple[str, ...]:
        """What `open` takes: one name for each network."""
        if self.network_file is not None:
            return (self.network_file,)
        return tuple(map(str, self.networks))

    def public(self) -> dict[str, Any]:
        """The settings for a report that others read: files by name, without their folders."""
        return {
            key: Path(value).name if key in _PATHS and value is not None else value
            for key, value in self.to_dict().items()
        }

    def open(self, name: str, watch: Watch) -> Network:
        """Load the network on file, or prepare the generated one of that size."""
        if name != self.network_file:
            return radixnet(*parse_size(name))
        from espalier import files

        with watch(f"reading {Path(name).name}", "steps") as progress:
            return files.load(name, progress=progress)

    def inputs(self, neurons: int, watch: Watch) -> Any:
        """The inputs of a challenge network, numpy or scipy CSR ``[samples, neurons]``."""
        if self.inputs_file is not None:
            from espalier import files

            with watch(f"reading {Path(self.inputs_file).name}", "steps") as progress:
                loaded = files.load_inputs(self.inputs_file, width=neurons, progress=progress)
            return loaded[: self.samples]
        with watch(f"making inputs of {neurons} pixels", "images") as progress:
            return challenge_images(neurons, self.samples, source=self.images, progress=progress)

    def gpu(self) -> Device:
        """The GPU that is measured."""
        return open_device(parse_device(self.device) or 0)

    def categories(self) -> NDArray[np.int64] | None:
        """The truth, 0-based, or None without one."""
        if self.truth is None:
            return None
        from espalier import files

        return files.load_categories(self.truth)


def label(name: str) -> str:
    """What a table calls a network: its size, or the name of its file without the folder.

    >>> label("1024x120"), label("networks/neuron1024.tar.gz")
    ('1024x120', 'neuron1024.tar.gz')
    """
    return Path(name).name


def parse_size(text: str) -> Size:
    """Neurons and layers of a text such as ``1024x120``.

    Raises:
        InputError: the text has another form, or a number is 0.

    >>> parse_size("1024x120")
    Size(neurons=1024, layers=120)
    """
    match = re.fullmatch(r"0*([1-9]\d*)x0*([1-9]\d*)", text)
    if match is None:
        raise InputError(f"network size is {text!r}, wanted NEURONSxLAYERS, such as 1024x120")
    return Size(int(match[1]), int(match[2]))
