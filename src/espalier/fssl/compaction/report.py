"""What `compact` did, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from espalier.errors import FileError, InputError
from espalier.fssl.compaction.manifest import Entry, entries_as_json, read_entries
from espalier.fssl.compaction.reduce_units import Removed
from espalier.fssl.groups.modules import is_sparse
from espalier.tables import table_lines

_ATTRIBUTE = "_espalier_compact_report"


class Size(NamedTuple):
    """The size of a layer: shape of its weight, weights stored, bytes of all its tensors."""

    shape: tuple[int, ...]
    weights: int
    bytes: int


@dataclass(frozen=True)
class LayerReport:
    """One layer before and after.

    Attributes:
        name: of its module in the model that came.
        backend: what it runs as now: ``"dense"`` or ``"csr"``.
        before, after: its size.
        inputs, outputs: units it still reads and makes, as indices into those that came; None
            where all are left.
    """

    name: str
    backend: str
    before: Size
    after: Size
    inputs: list[int] | None
    outputs: list[int] | None


@dataclass(frozen=True)
class CompactReport:
    """What `compact` removed; ``print`` it for a table.

    Attributes:
        layers: every layer that could have changed.
        removed: for each family of units, what went and why.
        gap: largest difference between the outputs of both models on the probe.
        samples: in the probe.
        original: the modules of the model that came, or, if that was compact itself, of the one
            it came from.
    """

    layers: Sequence[LayerReport]
    removed: Sequence[Removed]
    gap: float
    samples: int
    original: Mapping[str, Entry]

    @property
    def weights(self) -> tuple[int, int]:
        """Weights stored before and after."""
        before = sum(layer.before.weights for layer in self.layers)
        return before, sum(layer.after.weights for layer in self.layers)

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes of the layers before and after."""
        before = sum(layer.before.bytes for layer in self.layers)
        return before, sum(layer.after.bytes for layer in self.layers)

    def as_json(self) -> dict[str, Any]:
        """The report in numbers, words and lists."""
        layers = [
            {**vars(each), "before": each.before._asdict(), "after": each.after._asdict()}
            for each in self.layers
        ]
        removed = [vars(each) for each in self.removed]
        return {
            "layers": layers,
            "removed": removed,
            "gap": self.gap,
            "samples": self.samples,
            "original": entries_as_json(self.original),
        }

    def __str__(self) -> str:
        rows = [("layer", "shape", "weights", "bytes", "runs as")]
        rows += [
            (
                layer.name,
                f"{_shape(layer.before)} -> {_shape(layer.after)}",
                _change(layer.before.weights, layer.after.weights),
                _change(layer.before.bytes, layer.after.bytes),
                layer.backend,
            )
            for layer in self.layers
        ]
        rows.append(("all", "", _change(*self.weights), _change(*self.bytes), ""))
        lines = table_lines(rows)
        lines += [
            f"{family.name}: {family.kept} of {family.size} units left; {family.unread} unread, "
            f"{family.constant} constant, {family.merged} merged"
            for family in self.removed
        ]
        lines.append(f"largest difference on {self.samples} samples: {self.gap:.3g}")
        return "\n".join(lines)


def compact_report(small: nn.Module) -> CompactReport:
    """What `compact` did to make a model.

    Raises:
        InputError: the model did not come from `compact`.
    """
    report = find_report(small)
    if report is None:
        raise InputError(
            f"this {type(small).__name__} has no report: it did not come from fssl.compact"
        )
    return report


def find_report(model: nn.Module) -> CompactReport | None:
    """The report that a model carries, if it has one."""
    report = getattr(model, _ATTRIBUTE, None)
    return report if isinstance(report, CompactReport) else None


def report_from_json(content: Any) -> CompactReport:
    """The report of `CompactReport.as_json`.

    Raises:
        FileError: something else.
    """
    try:
        layers = [
            LayerReport(
                **{**each, "before": Size(**each["before"]), "after": Size(**each["after"])}
            )
            for each in content["layers"]
        ]
        removed = [Removed(**each) for each in content["removed"]]
        gap, samples = float(content["gap"]), int(content["samples"])
        return CompactReport(layers, removed, gap, samples, read_entries(content["original"]))
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise FileError(f"the report of the compaction cannot be read: {error}") from error


def attach(small: nn.Module, report: CompactReport) -> None:
    """Keep a report with the model it is about."""
    setattr(small, _ATTRIBUTE, report)


def size_of(module: Any) -> Size:
    """The size of a layer."""
    if is_sparse(module):
        shape, weights = (module.out_features, module.in_features), len(module.values)
    else:
        shape, weights = tuple(module.weight.shape), module.weight.numel()
    return Size(shape, weights, bytes_of(module))


def bytes_of(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(each.nbytes for each in (*module.parameters(), *module.buffers()))


def _shape(size: Size) -> str:
    return " x ".join(str(each) for each in size.shape)


def _change(before: int, after: int) -> str:
    return f"{before:,} -> {after:,}"
