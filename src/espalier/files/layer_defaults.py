"""What the text of a network leaves out, and who says it: the caller, `network.json`, the rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from espalier.errors import FileError, InputError, NetworkError
from espalier.files.records import DESCRIPTION_NAME, LayerRecord
from espalier.files.text import Entries, Shape
from espalier.network import Activation, Layer
from espalier.network.csr import MAX_WIDTH

# The Graph Challenge's rules: a bias for each number of neurons, and one clip.
CHALLENGE_BIAS = {1024: -0.30, 4096: -0.35, 16384: -0.40, 65536: -0.45}
CHALLENGE_CLIP = 32.0

Bias = float | Sequence[ArrayLike]


@dataclass(frozen=True)
class LoadOptions:
    """What the caller of `load` said; None where nothing."""

    bias: Bias | None = None
    clip: float | None = None
    activation: Activation | None = None
    neurons: int | Sequence[int] | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        for width in [] if self.neurons is None else np.ravel(np.asarray(self.neurons)).tolist():
            if not isinstance(width, int) or not 0 <= width <= MAX_WIDTH:
                raise InputError(f"neurons holds {width!r}, wanted whole numbers up to {MAX_WIDTH}")
        if self.layers is not None and self.layers < 1:
            raise InputError(f"layers is {self.layers}, wanted at least 1")

    def shape(self, index: int) -> Shape | None:
        """``(outputs, inputs)`` of a layer as ``neurons`` says."""
        if self.neurons is None:
            return None
        if np.ndim(self.neurons) == 0:
            return cast(int, self.neurons), cast(int, self.neurons)
        widths = cast(Sequence[int], self.neurons)
        if index + 1 >= len(widths):
            raise InputError(
                f"neurons lists {len(widths)} widths, for {len(widths) - 1} layers, but there is "
                f"a layer {index + 1}; list the input's width and every layer's outputs"
            )
        return int(widths[index + 1]), int(widths[index])

    def layer_bias(self, index: int, count: int) -> Any:
        """The bias of a layer, None where nothing was said."""
        if not isinstance(self.bias, Sequence | np.ndarray):
            return self.bias
        if len(self.bias) != count:
            raise InputError(
                f"bias lists {len(self.bias)} layers, the network has {count}; pass one number, or "
                "one number or array for each layer"
            )
        return self.bias[index]


class LayerDefaults:
    """Makes layers of bare entries.

    Arguments:
        options: what the caller said; it goes before all else.
        path: the folder or file; ``neuron1024`` in its name means the challenge's rules.
        records: what `network.json` says, or None.
        count: number of layers.
    """

    def __init__(
        self, options: LoadOptions, path: Path, records: list[LayerRecord] | None, count: int
    ) -> None:
        if records is not None and count != min(len(records), options.layers or len(records)):
            raise FileError(
                f"{path} holds {count} layers, its {DESCRIPTION_NAME} describes {len(records)}"
            )
        self._options, self._records, self._count = options, records, count
        self._rule_bias = None
        if options.bias is None and records is None:
            self._rule_bias = _challenge_bias(path)

    def shape(self, index: int) -> Shape | None:
        """``(outputs, inputs)`` of a layer, None where it is not known."""
        shape = self._options.shape(index)
        if shape is None and self._records is not None:
            return self._records[index].outputs, self._records[index].inputs
        return shape

    def nonzeros(self, index: int) -> int | None:
        """Connections of a layer, None where it is not known."""
        return None if self._records is None else self._records[index].nonzeros

    def layer(self, index: int, entries: Entries, shape: Shape) -> Layer:
        """Make layer ``index`` of its entries.

        Raises:
            FileError: entries lack or do not fit, or a description that no layer can have.
        """
        options = self._options
        if self._records is not None:
            record = self._records[index]
            if record.nonzeros != entries.count:
                raise FileError(
                    f"{entries.name} holds {entries.count:,} entries, {DESCRIPTION_NAME} says "
                    f"{record.nonzeros:,}: is it cut short?"
                )
            bias, activation, clip = record.bias, record.activation, record.clip
        elif not entries.count and entries.shape is None:
            raise FileError(f"{entries.name} is empty, wanted lines `input output value`")
        else:
            bias, activation, clip = self._rule_bias, "relu", None
            if self._rule_bias is not None:
                clip = CHALLENGE_CLIP
        given_bias = options.layer_bias(index, self._count)
        bias = bias if given_bias is None else given_bias
        if options.activation is not None:
            activation = options.activation
            clip = clip if activation == "relu" else None
        clip = clip if options.clip is None else options.clip
        try:
            return entries.bare_layer(shape).with_response(bias, activation, clip)
        except NetworkError as error:
            raise FileError(f"{entries.name}: {error}") from error


def _challenge_bias(path: Path) -> float:
    named = re.search(r"neuron(1024|4096|16384|65536)(?!\d)", path.name)
    if not named:
        raise InputError(
            f"{path} holds weights only: pass bias=, one number or one for each layer (the "
            "challenge's own is taken only where the name says neuron1024, neuron4096, "
            "neuron16384 or neuron65536)"
        )
    return CHALLENGE_BIAS[int(named.group(1))]
