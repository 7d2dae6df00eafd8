"""The Graph Challenge's layer files: names like ``n1024-l7.tsv``, lines `input output value`.

Files count from 1 and hold (input, output); layers are ``[outputs, inputs]``, so a file sorted by
output, as the official ones are, is a layer in CSR order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath

from espalier.errors import FileError
from espalier.files import matrix_market
from espalier.files.records import DESCRIPTION_NAME, LayerRecord, write_description
from espalier.files.text import Entries, Shape, format_entries, parse_entries
from espalier.network import Layer, Network
from espalier.progress import Progress

LAYER_NAME = re.compile(r"(?P<prefix>.*)-l(?P<number>\d{1,9})\.(?P<kind>tsv|mtx)(\.gz)?")
WIDTH_PREFIX = re.compile(r"n(\d{1,10})")


def layer_number(name: str) -> int | None:
    """The layer a file holds by its name, from 1; None for any other file.

    >>> layer_number("n1024-l7.tsv"), layer_number("neuron1024-l120-categories.tsv")
    (7, None)
    """
    match = LAYER_NAME.fullmatch(PurePath(name).name)
    return int(match["number"]) if match else None


def named_shape(name: str) -> Shape | None:
    """``(outputs, inputs)`` as a name like ``n1024-l7.tsv`` says it, or None."""
    match = LAYER_NAME.fullmatch(PurePath(name).name)
    width = WIDTH_PREFIX.fullmatch(match["prefix"]) if match else None
    return (int(width[1]), int(width[1])) if width else None


def check_numbers(numbers: Iterable[int], where: str, layers: int | None) -> int:
    """Check that layers 1 to the last are there; returns how many, at most ``layers``.

    Raises:
        FileError: naming the layers that are missing.
    """
    found = set(numbers)
    if not found:
        raise FileError(f"{where} holds no layers, wanted files named like n1024-l1.tsv")
    last = max(found) if layers is None else layers
    missing = [number for number in range(1, min(last, len(found) + 20) + 1) if number not in found]
    if missing:
        listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise FileError(f"{where} lacks layer {listed} of 1 ... {last}")
    if 0 in found:
        raise FileError(f"{where} holds a layer 0, but layers count from 1")
    return last


def read_layer(chunks: Iterable[bytes | memoryview], name: str, shape: Shape | None) -> Entries:
    """Parse one layer's file, TSV or Matrix Market by its name.

    Arguments:
        chunks: the decompressed text.
        name: the file, for messages and its kind.
        shape: ``(outputs, inputs)`` where known; indices beyond are refused.

    Raises:
        FileError: naming the file, the line and the fault.
    """
    if not is_market(name):
        outputs, inputs = shape or (0, 0)
        return parse_entries(chunks, name, row_first=False, rows=outputs, columns=inputs)
    return matrix_market.read_entries(chunks, name, row_first=False)


def is_market(name: str) -> bool:
    """Whether a file is Matrix Market by its name."""
    return ".mtx" in PurePath(name).suffixes[-2:]


def common_shape(layers: list[Entries]) -> Shape:
    """The width of square layers, taken from their largest indices where all agree.

    Raises:
        FileError: they do not agree, so that widths must be named.
    """
    largest = {size for entries in layers for size in (entries.largest_row, entries.largest_column)}
    if len(largest) != 1 or 0 in largest:
        raise FileError(
            f"{layers[0].name} and the layers after it do not say how wide they are: largest "
            f"indices are {sorted(largest)[:6]}; pass neurons=, one width or a list of "
            "[inputs, outputs of layer 1, outputs of layer 2, ...]"
        )
    width = largest.pop()
    layers[0].assumed_size(width, "neurons")
    return width, width


def assemble(
    layers: list[Entries],
    shape: Callable[[int], Shape | None],
    make: Callable[[int, Entries, Shape], Layer],
) -> list[Layer]:
    """Make layers of parsed entries, of the shape that is known, or their file's, or a common one.

    Arguments:
        layers: the entries of each layer.
        shape: ``(outputs, inputs)`` of a layer where known.
        make: makes a layer of its entries.
    """
    shapes = [shape(index) or entries.shape for index, entries in enumerate(layers)]
    common = common_shape(layers) if None in shapes else (0, 0)
    return [make(index, entries, shapes[index] or common) for index, entries in enumerate(layers)]


def format_files(
    network: Network, kind: str, progress: Progress | None
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield name and text of each file of a network: its layers, and `network.json` at the end.

    Arguments:
        kind: of the layers' files, ``"tsv"`` or ``"mtx"``.
    """
    widths = {side for index in range(len(network)) for side in network.shape(index)}
    prefix = f"n{widths.pop()}" if len(widths) == 1 else "layer"
    format_matrix = matrix_market.format_matrix if kind == "mtx" else format_entries
    records = []
    for index, layer in enumerate(network):
        yield f"{prefix}-l{index + 1}.{kind}", format_matrix(layer.weights, row_first=False)
        records.append(LayerRecord.of(layer, with_bias=True))
        if progress:
            progress(index + 1, len(network))
    yield DESCRIPTION_NAME, iter([write_description(records)])
