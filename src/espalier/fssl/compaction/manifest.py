"""The architecture of a compact model in words: its modules by name, with kinds and sizes.

A compact model has the modules of the model it came from, some smaller, some sparse, some behind
a `Select`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from espalier.errors import FileError
from espalier.fssl.compaction.resize import Select
from espalier.fssl.groups.modules import is_norm, is_sparse

LINEAR, SPARSE, CONV, NORM, SELECT = "linear", "sparse", "conv", "norm", "select"
KINDS = {LINEAR, SPARSE, CONV, NORM, SELECT}
MAX_WIDTH = 2**31 - 1
# Of which modules of the original one of a kind can be made; a selection stands before one.
MADE_OF = {
    LINEAR: {LINEAR, SPARSE},
    SPARSE: {LINEAR, SPARSE},
    CONV: {CONV},
    NORM: {NORM},
    SELECT: {LINEAR, SPARSE, SELECT},
}
WRONG_MODEL = "give the model that this file came from, in its original size"


@dataclass(frozen=True)
class Entry:
    """One module: its kind, and how wide what it reads and makes is."""

    kind: str
    inputs: int
    outputs: int


def describe(model: nn.Module) -> dict[str, Entry]:
    """The modules of a model that compaction may have changed, by name."""
    entries = {name: entry_of(module) for name, module in model.named_modules()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def entries_as_json(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Kinds and sizes by name, as `read_entries` takes them."""
    return {name: asdict(entry) for name, entry in entries.items()}


def entry_of(module: Any) -> Entry | None:
    """What a manifest says of one module; None if it is of no kind that compaction changes."""
    if isinstance(module, Select):
        return Entry(SELECT, module.in_features, len(module.indices))
    if is_sparse(module):
        return Entry(SPARSE, module.in_features, module.out_features)
    if isinstance(module, nn.Linear):
        return Entry(LINEAR, module.in_features, module.out_features)
    if isinstance(module, nn.Conv2d):
        return Entry(CONV, module.in_channels, module.out_channels)
    if is_norm(module):
        return Entry(NORM, module.num_features, module.num_features)
    return None


def read_entries(content: Any) -> dict[str, Entry]:
    """The entries that JSON holds.

    Raises:
        FileError: anything but kinds and sizes by name.
    """
    if not isinstance(content, dict):
        raise FileError("the manifest lists no modules")
    entries = {}
    for name, plain in content.items():
        try:
            entries[name] = entry = Entry(**plain)
        except TypeError as error:
            raise FileError(f"the manifest does not describe {name!r}: {error}") from error
        sizes = (entry.inputs, entry.outputs)
        sized = all(type(size) is int and 0 <= size <= MAX_WIDTH for size in sizes)
        if not isinstance(entry.kind, str) or entry.kind not in KINDS or not sized:
            raise FileError(f"the manifest has {name!r} as {entry}, which is no module")
    return entries


def check_original(model: nn.Module, original: Mapping[str, Entry]) -> None:
    """Refuse a model that is not as wide as the original; which layers are sparse may differ.

    Raises:
        FileError: it is not.
    """
    came = describe(model)
    for name in sorted(came.keys() | original.keys()):
        ours, theirs = came.get(name), original.get(name)
        if ours is None or theirs is None or not _alike(ours, theirs):
            raise FileError(
                f"{name or 'the model'} is {_words(ours)}, and was {_words(theirs)} in the "
                f"original; {WRONG_MODEL}"
            )


def _alike(ours: Entry, theirs: Entry) -> bool:
    sizes = (theirs.inputs, theirs.outputs)
    return ours.kind in MADE_OF[theirs.kind] and (ours.inputs, ours.outputs) == sizes


def _words(entry: Entry | None) -> str:
    return "absent" if entry is None else f"{entry.kind} {entry.outputs} x {entry.inputs}"
