"""The JSON record of each layer: `network.json` beside text, and the metadata of safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espalier.errors import FileError
from espalier.files.container import Format, check_format, parse_json
from espalier.network import Layer
from espalier.network.csr import MAX_WIDTH

NETWORK = Format("espalier-network", 1, ("layers",))
DESCRIPTION_NAME = "network.json"
LARGEST = {"outputs": MAX_WIDTH, "inputs": MAX_WIDTH, "nonzeros": 1 << 48}


@dataclass(frozen=True)
class LayerRecord:
    """What JSON says of one layer; activation, clip and bias are `Layer`'s to check."""

    outputs: int
    inputs: int
    nonzeros: int
    activation: Any
    clip: Any = None
    bias: Any = None

    @classmethod
    def of(cls, layer: Layer, *, with_bias: bool) -> LayerRecord:
        """Describe a layer; its bias is one number where all neurons share it."""
        bias: Any = None
        if with_bias:
            bias = [_shortest(value) for value in layer.bias]
            if bias and (layer.bias == layer.bias[0]).all():
                bias = bias[0]
        clip = None if layer.clip is None else _shortest(layer.clip)
        return cls(layer.outputs, layer.inputs, layer.nonzeros, layer.activation, clip, bias)

    def as_json(self) -> str:
        """The record as one line of JSON, without the values that are None."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(known, separators=(",", ":"))


def _shortest(value: float) -> float:
    """The decimal number of fewest digits that is the same float32."""
    return float(str(np.float32(value)))


def write_description(records: Sequence[LayerRecord]) -> bytes:
    """The content of `network.json`."""
    layers = ",\n".join(record.as_json() for record in records)
    header = f'"format": "{NETWORK.name}", "format_version": "{NETWORK.version}"'
    return f'{{{header}, "layers": [\n{layers}\n]}}\n'.encode()


def read_description(text: bytes, name: str) -> list[LayerRecord]:
    """Read `network.json`.

    Raises:
        FileError: not JSON, another format or version, or not the records of layers.
    """
    content = parse_json(text, name)
    if not isinstance(content, dict):
        raise FileError(f"{name} is not a JSON object")
    check_format(content, NETWORK, name)
    return read_records(content.get("layers"), name)


def read_records(layers: Any, name: str) -> list[LayerRecord]:
    """Check the records of layers.

    Raises:
        FileError: anything but a list of records whose sizes are sizes.
    """
    if not isinstance(layers, list) or not layers:
        raise FileError(f"{name} has no list of layers")
    records = []
    for index, layer in enumerate(layers):
        try:
            record = LayerRecord(**layer)
        except TypeError as error:
            raise FileError(f"{name} does not describe layer {index}: {error}") from error
        for key, most in LARGEST.items():
            size = getattr(record, key)
            if type(size) is not int or not 0 <= size <= most:
                raise FileError(
                    f"{name} gives layer {index} {key}={size!r}, wanted a whole number 0 ... {most}"
                )
        records.append(record)
    return records
