"""A tar of layer files, plain or gzip: decompressed by one thread, parsed by another."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath
from typing import Any

from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.challenge import (
    assemble,
    check_numbers,
    format_files,
    layer_number,
    named_shape,
    read_layer,
)
from espalier.files.layer_defaults import LayerDefaults, LoadOptions
from espalier.files.records import (
    DESCRIPTION_NAME,
    read_description,
)
from espalier.files.streams import GZIP_LEVEL, GzipFile, read_chunks
from espalier.files.text import Entries, Shape
from espalier.network import Network
from espalier.progress import Progress

BYTES_PER_ENTRY = 8
LONGEST_HEADER = 1 << 24


def load_tar(path: Path, options: LoadOptions, progress: Progress | None = None) -> Network:
    """Read a network from a tar of layer files, in whatever order it holds them."""
    layers: dict[int, Entries] = {}
    records = None
    memory_left = _memory_bytes() * 3 // 4
    with closing(_members(path, progress)) as members:
        for name, contents in members:
            where = f"{path}:{name}"
            number = layer_number(name)
            if PurePosixPath(name).name == DESCRIPTION_NAME:
                records = read_description(b"".join(contents), where)[: options.layers]
            if number is None or number > (options.layers or number):
                continue
            if number in layers:
                raise FileError(f"{where} is layer {number}, as is {layers[number].name}")
            # What is known of its shape while the tar is still being read.
            shape = (options.shape(number - 1) if number else None) or named_shape(name)
            layers[number] = entries = read_layer(contents, where, shape)
            if shape is not None:
                entries.bare_layer(shape)  # while the next file is being decompressed
            memory_left -= BYTES_PER_ENTRY * entries.count
            if memory_left < 0:
                raise FileError(
                    f"{path} is too large for memory, and a tar cannot be read layer by layer: "
                    "unpack it and load the folder"
                )
    count = check_numbers(layers, str(path), options.layers)
    defaults = LayerDefaults(options, path, records, count)
    in_order = [layers[number] for number in range(1, count + 1)]

    def known_shape(index: int) -> Shape | None:
        return defaults.shape(index) or named_shape(in_order[index].name)

    return Network(assemble(in_order, known_shape, defaults.layer))


def save_tar(network: Network, path: Path, progress: Progress | None = None) -> None:
    """Write a tar of TSV files and their `network.json`; gzip unless named ``.tar``."""
    name = path.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    with replacing_file(path) as file, ExitStack() as stack:
        target: Any = file
        if path.suffix != ".tar":
            # No name and no time inside: the same network is the same bytes.
            target = stack.enter_context(GzipFile("", "wb", GZIP_LEVEL, file, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT))
        for file_name, text in format_files(network, "tsv", progress):
            content = b"".join(text)
            member = tarfile.TarInfo(f"{name}/{file_name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _members(path: Path, progress: Progress | None) -> Generator[tuple[str, Iterator[memoryview]]]:
    """Yield name and content of every file in a tar, and check that the tar has its end."""
    with closing(read_chunks(path, progress)) as chunks:
        tape = _Tape(chunks, path)
        try:
            with tarfile.open(fileobj=tape, mode="r:") as tar:  # type: ignore[call-overload]
                while (member := tar.next()) is not None:
                    if member.isfile() and not member.issparse():
                        yield member.name, tape.pieces(member.offset_data, member.size)
        except tarfile.TarError as error:
            raise tape.broken(str(error)) from error
        if tape.last_header != bytes(tarfile.BLOCKSIZE):
            raise tape.broken("it lacks its end, or a header is damaged")
        for _ in chunks:  # to the end, where gzip keeps its checksum
            pass


class _Tape:
    """Chunks as the file that `tarfile` wants: it has positions, though it only moves forward."""

    def __init__(self, chunks: Iterator[bytes], path: Path) -> None:
        self._chunks, self._path = chunks, path
        self._chunk, self._position = memoryview(b""), 0
        self.last_header = b""  # two empty blocks end a tar

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise self.broken("a size in it is negative")
        for _ in self.pieces(self._position, position - self._position):
            pass

    def read(self, size: int) -> bytes:
        """One header, or the long name before one."""
        if not 0 <= size <= LONGEST_HEADER:
            raise self.broken("a header in it is too long")
        content = b""
        while len(content) < size and (piece := self._take(size - len(content))):
            content += piece
        self.last_header = content
        return content

    def pieces(self, start: int, size: int) -> Iterator[memoryview]:
        """So many bytes from a position on, as they come."""
        if start > self._position:
            self.seek(start)
        while self._position < start + size:
            piece = self._take(start + size - self._position)
            if not piece:
                raise self.broken("it is cut short")
            yield piece

    def broken(self, reason: str) -> FileError:
        """The error that says why this is no tar."""
        return FileError(f"{self._path} is not a whole tar: {reason}")

    def _take(self, size: int) -> memoryview:
        """The next bytes, at most ``size``; none at the end."""
        if not self._chunk:
            self._chunk = memoryview(next(self._chunks, b""))
        piece, self._chunk = self._chunk[:size], self._chunk[size:]
        self._position += len(piece)
        return piece


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
