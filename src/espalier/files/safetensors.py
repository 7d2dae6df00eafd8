"""Networks in safetensors: four dense tensors a layer, records in the metadata.

Tensors of layer k are ``k.row_offsets`` (int64), ``k.column_indices`` (int32), ``k.values`` and
``k.bias`` (float32). Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.errors import FileError, NetworkError
from espalier.files.atomic import replacing_file
from espalier.files.container import (
    FORMAT,
    LENGTH_BYTES,
    METADATA,
    VERSION,
    check_format,
    parse_json,
    read_header,
)
from espalier.files.records import NETWORK, LayerRecord, read_records
from espalier.files.streams import reading
from espalier.network import Layer, LayerSource, Network
from espalier.network.csr import entries_of
from espalier.progress import Progress

DTYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "row_offsets": ("I64", np.dtype("<i8")),
    "column_indices": ("I32", np.dtype("<i4")),
    "values": ("F32", np.dtype("<f4")),
    "bias": ("F32", np.dtype("<f4")),
}
# Below this size, layers that were read are kept.
KEEP_BYTES = 1 << 30


def load_safetensors(
    path: Path,
    lazy: bool | None = None,
    layers: int | None = None,
    progress: Progress | None = None,
) -> Network:
    """Read a network from a file that `save_safetensors` wrote.

    The file is mapped into memory, not copied: do not write into it while the network is in use.
    Layers are checked when they are first used, or now with ``lazy=False``.
    """
    with reading(path):
        keep = path.stat().st_size <= KEEP_BYTES if lazy is None else not lazy
    source = SafetensorsSource(path, keep=keep)
    count = min(len(source), layers or len(source))
    chosen = source if count == len(source) else source[:count]
    if lazy is not False:
        return Network(chosen)
    read = []
    for layer in chosen:
        read.append(layer)
        if progress:
            progress(len(read), count)
    return Network(read)


def save_safetensors(network: Network, path: Path, progress: Progress | None = None) -> None:
    """Write a network, layer by layer."""
    with replacing_file(path) as file:
        # The header comes first but is known last: leave room for its largest form.
        longest = [LayerRecord(2**31, 2**31, 2**48, "identity", -1e-30)] * len(network)
        header_bytes = len(_header(longest))
        file.seek(LENGTH_BYTES + header_bytes)
        records = []
        for index, layer in enumerate(network):
            for name, (_, dtype) in DTYPES.items():
                file.write(np.ascontiguousarray(getattr(layer, name), dtype).data)
            records.append(LayerRecord.of(layer, with_bias=False))
            if progress:
                progress(index + 1, len(network))
        file.seek(0)
        file.write(header_bytes.to_bytes(LENGTH_BYTES, "little"))
        file.write(_header(records).ljust(header_bytes))


def _tensor_shapes(record: LayerRecord) -> dict[str, int]:
    return {
        "row_offsets": record.outputs + 1,
        "column_indices": record.nonzeros,
        "values": record.nonzeros,
        "bias": record.outputs,
    }


def _header(records: Sequence[LayerRecord]) -> bytes:
    """The JSON header: metadata, then every tensor's dtype, shape and place in order."""
    layers = "[" + ",".join(record.as_json() for record in records) + "]"
    metadata = {FORMAT: NETWORK.name, VERSION: str(NETWORK.version), "layers": layers}
    header: dict[str, Any] = {METADATA: metadata}
    position = 0
    for index, record in enumerate(records):
        for name, size in _tensor_shapes(record).items():
            code, dtype = DTYPES[name]
            end = position + size * dtype.itemsize
            header[f"{index}.{name}"] = {
                "dtype": code,
                "shape": [size],
                "data_offsets": [position, end],
            }
            position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // 8) * 8)


class Place(NamedTuple):
    """Where a tensor lies in the file."""

    start: int
    size: int


class SafetensorsSource(LayerSource):
    """Layers of a safetensors file, mapped into memory.

    Arguments:
        path: the file.
        keep: whether to keep the layers that were read.

    Raises:
        FileError: the file is damaged, hostile or holds something else.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        self._path = path
        self._kept: dict[int, Layer] | None = {} if keep else None
        with reading(path), path.open("rb") as file:
            is_empty = path.stat().st_size == 0  # and cannot be mapped
            self._memory = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        metadata, tensors, start = read_header(self._memory, str(path))
        check_format(metadata, NETWORK, str(path))
        layers = metadata.get("layers")
        if not isinstance(layers, str):
            raise FileError(f"{path} has no list of layers in its metadata")
        self._records = read_records(parse_json(layers, str(path)), str(path))
        self._check_widths()
        self._places = self._check_tensors(tensors, start)

    def __len__(self) -> int:
        return len(self._records)

    def shape(self, index: int) -> tuple[int, int]:
        return self._records[index].outputs, self._records[index].inputs

    def nonzeros(self, index: int) -> int:
        return self._records[index].nonzeros

    def layer(self, index: int) -> Layer:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        layer = self._layer_of(index, self._tensors(index))
        if self._kept is not None:
            self._kept[index] = layer
        return layer

    def rows(self, index: int, rows: NDArray[np.int64]) -> Layer:
        """Some rows; of the others no more than their offsets is touched."""
        if self._kept is not None and index in self._kept:
            return self._kept[index].select_rows(rows)
        tensors = self._tensors(index)
        offsets, entries = entries_of(tensors["row_offsets"], rows)
        chosen = {
            "row_offsets": offsets,
            "column_indices": tensors["column_indices"][entries],
            "values": tensors["values"][entries],
            "bias": tensors["bias"][rows],
        }
        return self._layer_of(index, chosen)

    def _tensors(self, index: int) -> dict[str, Any]:
        tensors = {name: self._tensor(index, name) for name in DTYPES}
        offsets, nonzeros = tensors["row_offsets"], self._records[index].nonzeros
        # Checked before they are narrowed; the rest is Layer's to check.
        if offsets[0] != 0 or offsets[-1] != nonzeros or (offsets[1:] < offsets[:-1]).any():
            raise FileError(f"{self._path}: {index}.row_offsets must rise from 0 to {nonzeros:,}")
        return tensors

    def _layer_of(self, index: int, tensors: dict[str, Any]) -> Layer:
        record = self._records[index]
        try:
            return Layer.from_csr(
                tensors["row_offsets"],
                tensors["column_indices"],
                tensors["values"],
                record.inputs,
                tensors["bias"],
                record.activation,
                record.clip,
            )
        except (NetworkError, ValueError) as error:
            raise FileError(f"{self._path}, layer {index}: {error}") from error

    def _tensor(self, index: int, name: str) -> Any:
        place = self._places[f"{index}.{name}"]
        return np.frombuffer(self._memory, DTYPES[name][1], place.size, place.start)

    def _check_widths(self) -> None:
        for index, (before, after) in enumerate(pairwise(self._records)):
            if before.outputs != after.inputs:
                raise FileError(
                    f"{self._path}: layer {index} has {before.outputs} outputs, but layer "
                    f"{index + 1} reads {after.inputs} inputs"
                )

    def _check_tensors(self, header: dict[str, Any], start: int) -> dict[str, Place]:
        """Match every tensor with the records; together they fill the file without overlap."""
        places = {}
        for index, record in enumerate(self._records):
            for name, size in _tensor_shapes(record).items():
                key = f"{index}.{name}"
                code, dtype = DTYPES[name]
                tensor = header.pop(key, None)
                wanted = {"dtype": code, "shape": [size]}
                if not isinstance(tensor, dict):
                    raise FileError(f"{self._path} lacks the tensor {key}")
                offsets = tensor.pop("data_offsets", None)
                if tensor != wanted:
                    raise FileError(f"{self._path}: {key} is {tensor}, wanted {wanted}")
                if not _is_range(offsets) or offsets[1] - offsets[0] != size * dtype.itemsize:
                    raise FileError(
                        f"{self._path}: {key} lies at {offsets}, wanted {size * dtype.itemsize:,} "
                        "bytes"
                    )
                places[key] = Place(start + offsets[0], size)
        if header:
            raise FileError(f"{self._path} holds {next(iter(header))!r}, no tensor of a network")
        self._check_no_overlap(places, start)
        return places

    def _check_no_overlap(self, places: dict[str, Place], end: int) -> None:
        for key, place in sorted(places.items(), key=lambda item: item[1]):
            if place.start != end:
                raise FileError(f"{self._path}: {key} overlaps another tensor or leaves a gap")
            end += place.size * DTYPES[key.partition(".")[2]][1].itemsize
        if end != len(self._memory):
            raise FileError(
                f"{self._path} is {len(self._memory):,} bytes, its tensors end at {end:,}: "
                "is it cut short?"
            )


def _is_range(offsets: Any) -> bool:
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(offset) is int for offset in offsets)
        and 0 <= offsets[0] <= offsets[1]
    )
