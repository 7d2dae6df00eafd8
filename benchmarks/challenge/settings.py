"""What to measure: networks, inputs, rounds, threads, and how long one figure may take."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typer import Option

from benchmarks.harness.published import INPUTS, NETWORKS
from benchmarks.harness.section import Rounds, Threads
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
    """The settings of one benchmark run.

    Arguments:
        images: folder of MNIST's training images; None takes scikit-learn's digits.
        inputs_file: inputs on file to take in place of images.
        memory: budget in bytes of espalier's plans, None for half of the memory free.
    """

    networks: Annotated[
        tuple[Size, ...],
        Option(
            "--network", help="NEURONSxLAYERS of a challenge network; repeat. By default 1024x120."
        ),
    ] = (Size(1024, 120),)
    network_file: Annotated[
        str | None, Option(metavar="PATH", help="Measure this network on file in their place.")
    ] = None
    samples: Annotated[int, Option(min=1, help="Inputs to run; by default all, or 60000.")] = INPUTS
    images: str | None = None
    inputs_file: str | None = None
    truth: Annotated[
        str | None, Option(metavar="PATH", help="Category list to check `shortcuts` against.")
    ] = None
    structureless: Annotated[
        tuple[Size, ...],
        Option(
            help="NEURONSxLAYERS of a random network; repeat. By default 1024x120, 4096x120 and "
            "16384x120."
        ),
    ] = STRUCTURELESS
    batch: Annotated[int, Option(min=1, help="Samples of the random networks.")] = 4096
    rounds: Rounds = ROUNDS
    threads: Threads = 1
    limit: Annotated[
        float, Option(min=0.1, help="Seconds of all rounds of one candidate; slower ones run less.")
    ] = 120.0
    peers: Annotated[
        bool, Option("--peers/--no-peers", help="Run scipy, torch and GraphBLAS too.")
    ] = True
    memory: int | None = None
    device: Annotated[str, Option(help="cpu, cuda, or cuda:N: what to measure.")] = "cpu"

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
            for key, value in asdict(self).items()
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
