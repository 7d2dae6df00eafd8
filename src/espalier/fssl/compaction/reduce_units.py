"""The lossless decomposition of a model's units: which may go, and what the others then weigh.

Forwards, constants move into the biases of the layers that read them, and equal units become one;
backwards, units that nobody reads any more disappear, and with them what only they read. What is
done to one layer is shared with the inference plan (`espalier.simplify`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from espalier.errors import NetworkError
from espalier.fssl.compaction.transfer import INDEPENDENT, first_equal, widened, widened_units
from espalier.fssl.compaction.value_numbering import ValueNumbering
from espalier.fssl.groups.groups import INPUT, Groups, LayerUse, Units
from espalier.fssl.groups.modules import kernel_area
from espalier.network import Layer, read_layer
from espalier.simplify.fold import Expansion, fold_inputs, inputs_read


@dataclass(frozen=True)
class Removed:
    """Why the units of a family could go.

    Attributes:
        name: of the family.
        size: units before.
        kept: units left.
        unread: nobody reads them, or only units that went.
        constant: they did not depend on the sample, and moved into biases.
        merged: they always equalled another unit.
    """

    name: str
    size: int
    kept: int
    unread: int
    constant: int
    merged: int


@dataclass(frozen=True, eq=False)
class Reduction:
    """What the decomposition found.

    Attributes:
        layers: for each layer by name, its weights of full size, folded.
        folded: the layers whose weights or bias are no longer the model's.
        alive: for each family, bool ``[size]``.
        removed: for each family, what went and why.
        shared_weight: layers that must stay modules with a weight of their own.
    """

    layers: dict[str, Layer]
    folded: set[str]
    alive: list[NDArray[np.bool_]]
    removed: list[Removed]
    shared_weight: set[str]

    def columns(self, layer: LayerUse) -> NDArray[np.bool_] | None:
        """Which units a layer still reads; None for all."""
        return self._some(layer.inputs)

    def rows(self, layer: LayerUse) -> NDArray[np.bool_] | None:
        """Which units a layer still makes; None for all."""
        return self._some(layer.outputs)

    def _some(self, units: int | None) -> NDArray[np.bool_] | None:
        return None if units is None or self.alive[units].all() else self.alive[units]


def reduce(groups: Groups) -> Reduction:
    """Decompose a model by the exact zeros and equal rows of its weights.

    Arguments:
        groups: of the model; it is run once on their example, in evaluation mode.

    Raises:
        NetworkError: weights that are not finite, or add up beyond what float32 holds.
    """
    before = {use.name: _read_named(groups, use) for use in groups.layers}
    numbering = _number_values(groups)
    same = [_equal_units(units, groups, numbering) for units in groups.units]
    layers, folded = dict(before), set()
    for use in groups.layers:
        if use.inputs is not None:
            expansion = _inputs(use, same[use.inputs], _reading(use, numbering))
            if not expansion.is_identity:
                layers[use.name] = _fold(before[use.name], expansion, groups, use)
                folded.add(use.name)
    alive = _living(groups, layers, _unselectable(groups, numbering))
    removed = [
        _removed(units, alive[units.index], same[units.index], _read(groups, before, units))
        for units in groups.units
    ]
    return Reduction(layers, folded, alive, removed, numbering.shared_weight)


def _number_values(groups: Groups) -> ValueNumbering:
    numbering = ValueNumbering(groups.model)
    # A first layer that works in place must not reach the example.
    example = (each.clone() if isinstance(each, Tensor) else each for each in groups.example)
    numbering.trace(groups.model, tuple(example))
    return numbering


def _read_named(groups: Groups, use: LayerUse) -> Layer:
    try:
        return read_layer(groups.module(use))
    except NetworkError as error:
        raise NetworkError(f"layer {use.name}: {error}") from error


def _reading(use: LayerUse, numbering: ValueNumbering) -> Expansion:
    """What is known of a layer's inputs: nothing if it has several calls or shares its weights."""
    calls = numbering.readings[use.name]
    if len(calls) == 1 and use.name not in numbering.shared_weight:
        return calls[0]
    return Expansion.identity(len(calls[0].unit))


def _units_read(use: LayerUse, reading: Expansion) -> NDArray[np.int32]:
    """For each unit, the first that a layer reads the same from, or -1 for a constant."""
    features = reading.unit.reshape(use.in_width, use.repeat)
    unit = features[:, 0] // use.repeat
    in_step = features == unit[:, np.newaxis] * use.repeat + np.arange(use.repeat)
    every = np.arange(use.in_width, dtype=np.int32)
    same = np.where(in_step.all(axis=1), unit, every)
    return np.where((features < 0).all(axis=1), INDEPENDENT, same).astype(np.int32)


def _equal_units(units: Units, groups: Groups, numbering: ValueNumbering) -> NDArray[np.int32]:
    """For each unit, the first that all readers read the same from; -1 for a constant to all."""
    uses = [use for use in groups.layers if use.inputs == units.index]
    views = np.stack([_units_read(use, _reading(use, numbering)) for use in uses], axis=1)
    constant = (views < 0).all(axis=1)
    return np.where(constant, np.int32(INDEPENDENT), first_equal(views))


def _inputs(use: LayerUse, same: NDArray[np.int32], reading: Expansion) -> Expansion:
    """What becomes of each input feature of a layer."""
    constant = np.repeat(_units_read(use, reading) < 0, use.repeat)
    first = widened_units(same, use.repeat)
    return Expansion(
        np.where(constant, np.int32(INDEPENDENT), first),
        np.where(constant, reading.constant, np.float32(0.0)),
    )


def _fold(layer: Layer, expansion: Expansion, groups: Groups, use: LayerUse) -> Layer:
    """The layer with its inputs folded, as wide as it was."""
    folded = fold_inputs(layer, widened(expansion, kernel_area(groups.module(use))))
    arrays = (folded.row_offsets, folded.column_indices, folded.values)
    return Layer.from_csr(*arrays, layer.inputs, folded.bias, "identity")


def _unselectable(groups: Groups, numbering: ValueNumbering) -> set[int]:
    """Inputs of layers that share their weights, before which no `Select` may stand."""
    return {
        use.inputs
        for use in groups.layers
        if use.name in numbering.shared_weight
        and use.inputs is not None
        and groups.units[use.inputs].kind == INPUT
    }


def _living(groups: Groups, layers: dict[str, Layer], whole: set[int]) -> list[NDArray[np.bool_]]:
    """Which units some living unit reads, to a fixpoint; each family keeps at least one.

    Arguments:
        whole: families that keep all their units.
    """
    alive = [np.ones(units.size, bool) for units in groups.units]
    changed = True
    while changed:
        changed = False
        for units in reversed([each for each in groups.units if each.index not in whole]):
            read = _read(groups, layers, units, alive)
            changed |= not np.array_equal(read, alive[units.index])
            alive[units.index] = read
    for living in alive:
        living[:1] |= not living.any()
    return alive


def _read(
    groups: Groups,
    layers: dict[str, Layer],
    units: Units,
    alive: list[NDArray[np.bool_]] | None = None,
) -> NDArray[np.bool_]:
    """Which units of a family have a weight to any living unit."""
    read = np.zeros(units.size, bool)
    for use in groups.layers:
        if use.inputs == units.index:
            rows = None if alive is None or use.outputs is None else alive[use.outputs]
            read |= inputs_read(layers[use.name], rows).reshape(units.size, -1).any(axis=1)
    return read


def _removed(
    units: Units, alive: NDArray[np.bool_], same: NDArray[np.int32], read: NDArray[np.bool_]
) -> Removed:
    gone = ~alive & read
    constant = gone & (same < 0)
    merged = gone & (same >= 0) & (same != np.arange(units.size))
    kept = int(alive.sum())
    others = int(constant.sum()) + int(merged.sum())
    return Removed(
        units.name,
        units.size,
        kept,
        unread=units.size - kept - others,
        constant=int(constant.sum()),
        merged=int(merged.sum()),
    )
