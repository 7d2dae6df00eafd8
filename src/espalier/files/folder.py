"""A folder of layer files, read at once or on demand; also one such file alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from espalier.errors import FileError, InputError
from espalier.files.atomic import replacing_folder
from espalier.files.challenge import (
    assemble,
    check_numbers,
    format_files,
    is_market,
    layer_number,
    named_shape,
    read_layer,
)
from espalier.files.container import parse_json
from espalier.files.layer_defaults import LayerDefaults, LoadOptions
from espalier.files.matrix_market import Header, read_header
from espalier.files.records import (
    DESCRIPTION_NAME,
    read_description,
    read_records,
)
from espalier.files.streams import chunks_of, open_stream, reading
from espalier.files.text import Entries, Shape
from espalier.network import Layer, LayerSource, Network
from espalier.progress import Progress

# Above this much text, layers are read when they are used and not kept.
LAZY_BYTES = 1 << 30
READERS = 2


def load_folder(
    path: Path, options: LoadOptions, lazy: bool | None = None, progress: Progress | None = None
) -> Network:
    """Read a folder of layer files."""
    files = _layer_files(path, options.layers)
    description_file = path / DESCRIPTION_NAME
    records = None
    if description_file.exists():
        with open_stream(description_file) as (stream, _):
            records = read_description(stream.read(), str(description_file))[: options.layers]
    return _load(
        FolderSource(files, LayerDefaults(options, path, records, len(files))), lazy, progress
    )


def load_layer_file(path: Path, options: LoadOptions, progress: Progress | None = None) -> Network:
    """Read a network of one layer from a ``.tsv`` or ``.mtx`` file, plain or gzip."""
    header = _market_header(path)
    records = None
    if header and header.record:
        records = read_records([parse_json(header.record, str(path))], str(path))
    return _load(FolderSource([path], LayerDefaults(options, path, records, 1)), False, progress)


def save_folder(network: Network, path: Path, kind: str, progress: Progress | None = None) -> None:
    """Write a folder of layer files, ``kind`` ``"tsv"`` or ``"mtx"``, and its `network.json`.

    Raises:
        FileError: the folder holds other files, which replacing it would lose.
    """
    if path.exists():
        _check_replaceable(path)
    with replacing_folder(path) as folder:
        for name, text in format_files(network, kind, progress):
            with (folder / name).open("xb") as file:
                file.writelines(text)


class FolderSource(LayerSource):
    """Layers read from their files when asked for."""

    def __init__(self, files: list[Path], defaults: LayerDefaults) -> None:
        self._files, self._defaults = files, defaults
        self._shapes: dict[int, Shape] = {}
        self._nonzeros: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._files)

    @property
    def text_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(file.stat().st_size for file in self._files)

    def layer(self, index: int) -> Layer:
        return self.make(index, self.entries(index), self.shape(index))

    def shape(self, index: int) -> Shape:
        shape = self.known_shape(index) or self._shapes.get(index)
        if shape is None:
            header = _market_header(self._files[index])
            if header is None:
                raise InputError(
                    f"{self._files[index]} does not say how wide the layer is, which reading on "
                    "demand needs; pass neurons=, or lazy=False"
                )
            shape = self._shapes[index] = header.columns, header.rows
        return shape

    def nonzeros(self, index: int) -> int:
        known = self._defaults.nonzeros(index)
        if known is None and index not in self._nonzeros:
            self._nonzeros[index] = self.entries(index).count
        return self._nonzeros[index] if known is None else known

    def known_shape(self, index: int) -> Shape | None:
        """``(outputs, inputs)`` where `network.json` or the name of the file says so."""
        return self._defaults.shape(index) or named_shape(self._files[index].name)

    def entries(self, index: int) -> Entries:
        """Parse one file."""
        path = self._files[index]
        with open_stream(path) as (stream, _):
            return read_layer(chunks_of(stream), str(path), self.known_shape(index))

    def make(self, index: int, entries: Entries, shape: Shape) -> Layer:
        """Make a layer of its parsed entries."""
        self._nonzeros[index] = entries.count
        return self._defaults.layer(index, entries, shape)


def _load(source: FolderSource, lazy: bool | None, progress: Progress | None) -> Network:
    if lazy or (lazy is None and source.text_bytes > LAZY_BYTES):
        source.shape(0)
        return Network(source)
    layers = []
    for entries in _parse_all(source):
        layers.append(entries)
        if progress:
            progress(len(layers), len(source))
    return Network(assemble(layers, source.known_shape, source.make))


def _parse_all(source: FolderSource) -> Iterator[Entries]:
    # The parser works without Python's lock, so two threads keep two files in work.
    with ThreadPoolExecutor(min(READERS, len(source))) as readers:
        try:
            yield from readers.map(source.entries, range(len(source)))
        finally:
            readers.shutdown(cancel_futures=True)


def _market_header(path: Path) -> Header | None:
    if not is_market(path.name):
        return None
    with open_stream(path) as (stream, _):
        return read_header(chunks_of(stream), str(path))[0]


def _layer_files(folder: Path, layers: int | None) -> list[Path]:
    """The files of layers 1, 2, ... in order."""
    files: dict[int, Path] = {}
    with reading(folder):
        for file in sorted(folder.iterdir()):
            number = layer_number(file.name)
            if number is None:
                continue
            if number in files:
                raise FileError(
                    f"{folder} holds layer {number} twice: {files[number].name} and {file.name}"
                )
            files[number] = file
    return [files[number] for number in range(1, check_numbers(files, str(folder), layers) + 1)]


def _check_replaceable(path: Path) -> None:
    if not path.is_dir():
        raise FileError(f"{path} is a file; to write a folder there, remove it first")
    others = [
        file.name
        for file in path.iterdir()
        if layer_number(file.name) is None and file.name != DESCRIPTION_NAME
    ]
    if others:
        raise FileError(
            f"{path} holds {others[0]!r}, which is no part of a network and would be lost; "
            "choose a new folder"
        )
