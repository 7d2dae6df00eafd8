"""The arguments NETWORK and INPUTS: a path, or what to generate, such as `radixnet:1024x120`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import espalier as esp
from espalier.errors import FileError, InputError
from espalier.progress import Progress

CHALLENGE_SAMPLES = 60_000

Generator = Literal["radixnet", "random"]


@dataclass(frozen=True)
class GeneratedNetwork:
    """`radixnet:1024x120:7`: a generator, its neurons and layers, and a seed."""

    generator: Generator
    neurons: int
    layers: int
    seed: int = 0

    def __str__(self) -> str:
        seed = f":{self.seed}" if self.seed else ""
        return f"{self.generator}:{self.neurons}x{self.layers}{seed}"


@dataclass(frozen=True)
class GeneratedInputs:
    """`digits:5000` or `mnist:FOLDER:5000`: where the digits come from and how many."""

    count: int
    folder: Path | None = None


def parse_network(text: str) -> GeneratedNetwork | Path:
    """The generated network that the text names, or else the path that it is.

    Raises:
        InputError: the text starts like a generator but does not go on like one.

    >>> parse_network("radixnet:1024x120")
    GeneratedNetwork(generator='radixnet', neurons=1024, layers=120, seed=0)
    >>> parse_network("nets/neuron1024.tar.gz").name
    'neuron1024.tar.gz'
    """
    for generator in ("radixnet", "random"):
        if not text.startswith(f"{generator}:"):
            continue
        match = re.fullmatch(rf"{generator}:(\d+)x(\d+)(?::(\d+))?", text)
        if match is None:
            raise InputError(
                f"network is {text!r}, wanted {generator}:NEURONSxLAYERS or "
                f"{generator}:NEURONSxLAYERS:SEED, such as {generator}:1024x120"
            )
        neurons, layers, seed = (int(number or 0) for number in match.groups())
        return GeneratedNetwork(generator, _positive(neurons, text), _positive(layers, text), seed)
    return Path(text)


def parse_inputs(text: str) -> GeneratedInputs | Path:
    """The digits that the text asks for, or else the path that it is.

    Raises:
        InputError: the text starts like a request for digits but does not go on like one.

    >>> parse_inputs("digits:5000")
    GeneratedInputs(count=5000, folder=None)
    >>> parse_inputs("mnist:data/mnist").count
    60000
    """
    if text == "digits" or text.startswith("digits:"):
        _, _, number = text.partition(":")
        if ":" in text and not re.fullmatch(r"\d+", number):
            raise InputError(f"inputs is {text!r}, wanted digits or digits:COUNT")
        return GeneratedInputs(_positive(int(number or CHALLENGE_SAMPLES), text))
    if text.startswith("mnist:"):
        match = re.fullmatch(r"mnist:(.+?)(?::(\d+))?", text)
        if match is None:
            raise InputError(f"inputs is {text!r}, wanted mnist:FOLDER or mnist:FOLDER:COUNT")
        count = int(match[2] or CHALLENGE_SAMPLES)
        return GeneratedInputs(_positive(count, text), Path(match[1]))
    return Path(text)


def open_network(
    source: GeneratedNetwork | Path,
    *,
    bias: float | None = None,
    clip: float | None = None,
    neurons: int | None = None,
    layers: int | None = None,
    progress: Progress | None = None,
) -> esp.Network:
    """Load or generate a network; the options say what a text file does not.

    Raises:
        InputError: an option came with a generated network.
        FileError: the file is missing or damaged.
    """
    if isinstance(source, Path):
        words = "radixnet:NEURONSxLAYERS or random:NEURONSxLAYERS"
        _check_exists(source, f"a file or folder of a network, {words}")
        return esp.load(
            source, bias=bias, clip=clip, neurons=neurons, layers=layers, progress=progress
        )
    given = {"--bias": bias, "--clip": clip, "--neurons": neurons, "--layers": layers}
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} {value} is for a network from a file, came {source}")
    generate = esp.radixnet if source.generator == "radixnet" else esp.random_network
    return generate(neurons=source.neurons, layers=source.layers, seed=source.seed)


def open_inputs(
    source: GeneratedInputs | Path, width: int, progress: Progress | None = None
) -> Any:
    """Load or generate inputs: numpy or scipy CSR ``[samples, width]``.

    Raises:
        InputError: the inputs are not as wide as the network.
        FileError: the file is missing or damaged.
    """
    if isinstance(source, Path):
        _check_exists(source, "a file of inputs, digits[:COUNT] or mnist:FOLDER[:COUNT]")
        return esp.load_inputs(source, width=width, progress=progress)
    return esp.challenge_images(width, source.count, source=source.folder, progress=progress)


def _check_exists(path: Path, wanted: str) -> None:
    if not path.exists():
        raise FileError(f"{path} does not exist, wanted {wanted}")


def _positive(number: int, text: str) -> int:
    if number < 1:
        raise InputError(f"{text!r} asks for none, wanted numbers above 0")
    return number
