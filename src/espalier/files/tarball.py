"""A tar of layer files, plain or gzip: decompressed by one thread, parsed by another."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from espalier.errors import FileError
from espalier.files.atomic import replacing_file
from espalier.files.challenge import (
    Shape,
    assemble,
    check_numbers,
    file_prefix,
    format_layer,
    layer_number,
    named_shape,
    read_layer,
)
from espalier.files.description import Asked, Description
from espalier.files.records import (
    DESCRIPTION_NAME,
    LayerRecord,
    read_description,
    write_description,
)
from espalier.files.streams import (
    CHUNK_BYTES,
    GZIP_LEVEL,
    GzipFile,
    Progress,
    ahead,
    chunks_of,
    open_stream,
)
from espalier.files.text import Entries
from espalier.network import Network

BYTES_PER_ENTRY = 8
LONGEST_HEADER = 1 << 24


class Piece(NamedTuple):
    """Some of a member's content; the first piece of a member is empty."""

    name: str
    start: int  # of the member in the tar, which tells members of one name apart
    content: bytes
    position: int  # in the file on disk


def load_tar(path: Path, asked: Asked, progress: Progress | None = None) -> Network:
    """Read a network from a tar of layer files, in whatever order it holds them."""
    layers: dict[int, Entries] = {}
    records = None
    room = _memory_bytes() * 3 // 4
    with closing(ahead(_pieces(path))) as all_pieces:
        for (name, _), pieces in groupby(all_pieces, lambda piece: (piece.name, piece.start)):
            contents = _contents(pieces, path, progress)
            where = f"{path}:{name}"
            number = layer_number(name)
            if PurePosixPath(name).name == DESCRIPTION_NAME:
                records = read_description(b"".join(contents), where)[: asked.layers]
            if number is None or number > (asked.layers or number):
                continue
            if number in layers:
                raise FileError(f"{where} is layer {number}, as is {layers[number].name}")
            layers[number] = read_layer(contents, where, _early_shape(asked, number, name))
            room -= BYTES_PER_ENTRY * layers[number].count
            if room < 0:
                raise FileError(
                    f"{path} is too large for memory, and a tar cannot be read layer by layer: "
                    "unpack it and load the folder"
                )
    count = check_numbers(layers, str(path), asked.layers)
    description = Description(asked, path, records, count)
    in_order = [layers[number] for number in range(1, count + 1)]

    def shape(index: int) -> Shape | None:
        return description.shape(index) or named_shape(in_order[index].name)

    return Network(assemble(in_order, shape, description.layer))


def save_tar(network: Network, path: Path, progress: Progress | None = None) -> None:
    """Write a tar of TSV files and their `network.json`; gzip unless named ``.tar``."""
    name = path.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    prefix = file_prefix(network)
    records = []
    with replacing_file(path) as file, ExitStack() as stack:
        target: Any = file
        if path.suffix != ".tar":
            # No name and no time inside: the same network is the same bytes.
            target = stack.enter_context(GzipFile("", "wb", GZIP_LEVEL, file, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT))
        for index, layer in enumerate(network):
            text = b"".join(format_layer(layer, "tsv"))
            _add(tar, f"{name}/{prefix}-l{index + 1}.tsv", text)
            records.append(LayerRecord.of(layer, with_bias=True))
            if progress:
                progress(index + 1, len(network))
        _add(tar, f"{name}/{DESCRIPTION_NAME}", write_description(records))


def _early_shape(asked: Asked, number: int, name: str) -> Shape | None:
    """What is known of a layer's shape while the tar is still being read."""
    return (asked.shape(number - 1) if number else None) or named_shape(name)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _contents(pieces: Iterable[Piece], path: Path, progress: Progress | None) -> Iterator[bytes]:
    for piece in pieces:
        yield piece.content
        if progress:
            progress(piece.position, path.stat().st_size)


def _pieces(path: Path) -> Iterator[Piece]:
    """Yield every file in a tar, piece by piece, and check that the tar has its end."""
    with open_stream(path) as (stream, raw):
        tape = _Tape(stream)
        try:
            with tarfile.open(fileobj=tape, mode="r:") as tar:  # type: ignore[call-overload]
                while (member := tar.next()) is not None:
                    if not member.isfile() or member.issparse():
                        continue
                    left = member.size
                    yield Piece(member.name, member.offset, b"", raw.tell())
                    tape.seek(member.offset_data)
                    while left > 0:
                        content = tape.take(min(left, CHUNK_BYTES))
                        left -= len(content)
                        yield Piece(member.name, member.offset, content, raw.tell())
        except tarfile.TarError as error:
            raise FileError(f"{path} is not a whole tar: {error}") from error
        if tape.last != bytes(tarfile.BLOCKSIZE):
            raise FileError(f"{path} is not a whole tar: it lacks its end or holds a bad header")
        for _ in chunks_of(stream):  # to the end, where gzip keeps its checksum
            pass


class _Tape:
    """A stream as `tarfile` wants it: with positions, though it only moves forward."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._position = stream, 0
        self.last = b""  # what was last read as a header; two empty blocks end a tar

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        while self._position < position:
            self.take(min(CHUNK_BYTES, position - self._position))
        if self._position > position:
            raise tarfile.ReadError("a size in it is negative")

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes, at least one."""
        content = self._stream.read(size)
        if not content:
            raise tarfile.ReadError("it is cut short")
        self._position += len(content)
        return content

    def read(self, size: int) -> bytes:
        """One header, or the long name before one."""
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError("a header in it is too long")
        self.last = self._stream.read(size)
        self._position += len(self.last)
        return self.last


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
