"""How long a network takes, by its widths and non-zeros, on this machine."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from espalier.errors import InputError
from espalier.fssl.groups.groups import SPARSE, Groups, LayerUse
from espalier.fssl.latency.grid import BACKENDS, CSR, DENSE
from espalier.fssl.latency.layer import LayerTime, measured_layers, nominal_layers
from espalier.fssl.latency.measure import cache, gaps_key, tasks, time_gaps, time_layers
from espalier.fssl.latency.overhead import Between
from espalier.fssl.latency.report import report
from espalier.fssl.latency.serialize import between_from_json, layer_from_json, layer_to_json
from espalier.kernels import instruction_set, thread_count
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Progress
from espalier.timing.processor import processor_name

FORMAT = 1
# A slope is taken over this part of the full width.
_WINDOW = 0.05
# Widths and non-zeros that save less than this part of the time are not worth a term.
_LAUNCH_BOUND = 0.2
_NO_TIME = 1e-12
_TOGETHER = 1.5


@dataclass(frozen=True)
class TimeModel:
    """Predicts the seconds of each layer and of the whole network; ``print`` it for its errors.

    Attributes:
        batch: samples of a batch.
        threads: of a call.
        machine: processor and instruction set that were measured, or why nothing was.
        sizes: full width of each family of units.
        layers: in order of execution.
        between: what the network does between its layers, None where that is not known.
    """

    batch: int
    threads: int
    machine: str
    sizes: tuple[int, ...]
    layers: tuple[LayerTime, ...]
    between: Between | None

    @classmethod
    def measure(
        cls,
        groups: Groups,
        batch: int = 256,
        *,
        threads: int | None = None,
        backends: Sequence[str] = BACKENDS,
        example_input: Tensor | None = None,
        progress: Progress | None = None,
        folder: Path | None = None,
    ) -> TimeModel:
        """Time every layer at many widths on this machine and fit curves to the seconds.

        Seconds are kept in the user's cache: the same layer is measured once. What a restless
        machine measured is not kept, and what does not hold together (`holds_together`) is
        measured anew. The time of one thread is its own, so that other programs disturb it
        little; the time of several is that on the wall.

        Arguments:
            groups: of the network.
            batch: samples of a batch; time depends on it.
            threads: of torch and of the sparse kernels, None for their default.
            backends: ``"dense"``, and ``"csr"`` for linear layers.
            example_input: a batch of real inputs for what happens between the layers, random
                numbers if None.
            progress: called with (done, total).
            folder: of the cache, in place of the user's.

        Raises:
            InputError: the batch, the threads or a backend cannot be.

        Source: the latency tables of NetAdapt (Yang et al., ECCV 2018) and HALP (Shen et al.,
        NeurIPS 2022), and the roofline of MorphNet (Gordon et al., CVPR 2018).
        """
        _check_groups(groups)
        batch = _batch(batch)
        ways = _backends(backends)
        count = thread_count(threads)
        known = cache(folder)
        planned = tasks(groups, batch, count, ways)

        def measured() -> TimeModel:
            with torch_threads(count):
                seconds = time_layers(groups, batch, count, planned, known, progress)
                between = time_gaps(groups, batch, count, example_input, known)
            layers = measured_layers(planned, seconds, batch)
            return cls(batch, count, this_machine(), tuple(groups.full_widths), layers, between)

        model = measured()
        if not model.holds_together(groups.full_nonzeros):
            known.forget([gaps_key(groups, batch, count, example_input), *(t.key for t in planned)])
            model = measured()
        return model

    @classmethod
    def from_macs(cls, groups: Groups, batch: int = 256) -> TimeModel:
        """Multiply-adds in place of time, at a nominal speed: no measurement, wrong magnitude.

        >>> import torch
        >>> from espalier import fssl
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        >>> time = fssl.TimeModel.from_macs(fssl.find_groups(model, torch.zeros(1, 4)), batch=1000)
        >>> time.seconds([4, 3]) / time.seconds([2, 3])
        1.5
        """
        _check_groups(groups)
        batch = _batch(batch)
        layers = nominal_layers(groups.layers, batch)
        return cls(batch, 1, NOT_MEASURED, tuple(groups.full_widths), layers, None)

    @property
    def measured(self) -> bool:
        """Whether seconds are seconds."""
        return self.machine != NOT_MEASURED

    def layer_seconds(
        self,
        layer: LayerUse,
        inputs: int,
        outputs: int,
        nonzeros: int | None = None,
        backend: str = DENSE,
    ) -> float:
        """Seconds of a layer with so many units and non-zeros (None: all), run in this way."""
        known = self._known(layer)
        if backend not in known.fits:
            raise InputError(
                f"backend is {backend!r}, known of layer {layer.name!r} are "
                f"{', '.join(map(repr, known.fits))}; name it in measure(backends=...)"
            )
        widths = known.widths(inputs, outputs)
        return known.seconds(*widths, known.density(*widths, nonzeros), backend)

    def backend(
        self, layer: LayerUse, inputs: int, outputs: int, nonzeros: int | None = None
    ) -> str:
        """The cheapest way to run a layer with so many units and non-zeros (None: dense).

        Never CSR where more than 0.7 of the weights are left: it would only take more memory.
        """
        known = self._known(layer)
        widths = known.widths(inputs, outputs)
        return known.cheapest(*widths, known.density(*widths, nonzeros))[0]

    def seconds(self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None) -> float:
        """Seconds of the network: every layer at its cheapest, and all that is between them.

        Arguments:
            widths: living units of each family; 0 counts as 1.
            nonzeros: of each layer's compact weight, None for a dense one.

        Raises:
            InputError: a width or a number of non-zeros is missing or out of range.
        """
        alive = self._widths(widths)
        return self._sum(alive, self._densities(alive, nonzeros), smooth=False)

    def marginals(
        self, widths: Sequence[int], nonzeros: Sequence[int | None] | None = None
    ) -> list[float]:
        """Seconds that a unit of each family saves when it goes, never negative.

        The slope over some 5 % of the width, without the steps of vector kernels: a single unit
        saves nothing in the middle of a step and a whole step at its edge. The call that selects
        inputs counts with its slope too; that it starts at all is in `seconds` alone.

        Arguments:
            widths, nonzeros: as for `seconds`; the densities of the layers stay as they are.
        """
        alive = self._widths(widths)
        densities = self._densities(alive, nonzeros)
        return [self._slope(alive, densities, family) for family in range(len(alive))]

    def nonzero_seconds(self, widths: Sequence[int], nonzeros: Sequence[int | None]) -> list[float]:
        """Seconds that each layer gains by a non-zero less; 0.0 where it would run dense."""
        alive = self._widths(widths)
        densities = self._densities(alive, nonzeros)
        return [
            self._nonzero_slope(known, *self._around(known.layer, alive), density)
            for known, density in zip(self.layers, densities, strict=True)
        ]

    @cached_property
    def launch_bound(self) -> bool:
        """Whether constants dominate at full width, so that no width is worth a term of time."""
        saved: float = sum(map(operator.mul, self.marginals(self.sizes), self.sizes))
        return saved < _LAUNCH_BOUND * self.seconds(self.sizes)

    def holds_together(self, nonzeros: Sequence[int | None] | None = None) -> bool:
        """Whether layers and gaps add up to the time of the whole network, by and large.

        If not, something else kept the machine busy while one or the other was measured.

        Arguments:
            nonzeros: of each layer at full width, None for a dense one.
        """
        unknown = nonzeros is None and any(known.layer.kind == SPARSE for known in self.layers)
        if self.between is None or unknown:
            return True
        ratio = self.seconds(self.sizes, nonzeros) / max(self.between.whole, _NO_TIME)
        return 1.0 / _TOGETHER < ratio < _TOGETHER

    def to_json(self) -> str:
        """All of it as JSON text."""
        plain = {
            "format": FORMAT,
            "machine": self.machine,
            "batch": self.batch,
            "threads": self.threads,
            "sizes": self.sizes,
            "layers": [layer_to_json(known) for known in self.layers],
            "between": None if self.between is None else asdict(self.between),
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str, *, elsewhere: bool = False) -> TimeModel:
        """Read back what `to_json` wrote.

        Arguments:
            text: JSON.
            elsewhere: whether times of another machine are welcome, to shape a network for it.

        Raises:
            InputError: the text is damaged, of another format, or of another machine.
        """
        try:
            plain = json.loads(text)
            if plain["format"] != FORMAT:
                raise ValueError(f"format {plain['format']}, wanted {FORMAT}")
            model = cls(
                int(plain["batch"]),
                int(plain["threads"]),
                str(plain["machine"]),
                tuple(map(int, plain["sizes"])),
                tuple(map(layer_from_json, plain["layers"])),
                between_from_json(plain["between"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"this is no time model that this version can read ({error!r}); measure again with "
                "TimeModel.measure"
            ) from error
        if model.measured and model.machine != this_machine() and not elsewhere:
            raise InputError(
                f"these times are of another machine ({model.machine}), this one is "
                f"{this_machine()}; measure here, or pass elsewhere=True to plan for that one"
            )
        return model

    def report(self) -> str:
        """A table: each layer's time at full width, its curve, and its held-out errors."""
        return report(self)

    def __str__(self) -> str:
        return self.report()

    def _sum(self, widths: list[float], densities: list[float | None], smooth: bool) -> float:
        total = self.between.front if self.between is not None else 0.0
        for index, (known, density) in enumerate(zip(self.layers, densities, strict=True)):
            inputs, outputs = self._around(known.layer, widths)
            total += known.cheapest(inputs, outputs, density, smooth)[1]
            if self.between is not None:
                total += self.between.seconds(index, outputs / known.layer.out_width)
            if known.gather and (smooth or inputs < known.layer.in_width):
                total += known.gather_seconds(inputs)
        return total

    def _around(self, layer: LayerUse, widths: Sequence[float]) -> tuple[float, float]:
        inputs = layer.in_width if layer.inputs is None else widths[layer.inputs]
        outputs = layer.out_width if layer.outputs is None else widths[layer.outputs]
        return inputs, outputs

    def _slope(self, widths: list[float], densities: list[float | None], family: int) -> float:
        size = self.sizes[family]
        window = max(2.0, _WINDOW * size)
        high = min(float(size), widths[family] + window / 2)
        low = max(1.0, high - window)
        if high <= low:
            return 0.0
        more, fewer = ([*widths[:family], each, *widths[family + 1 :]] for each in (high, low))
        saved = self._sum(more, densities, True) - self._sum(fewer, densities, True)
        return max(saved, 0.0) / (high - low)

    def _nonzero_slope(
        self, known: LayerTime, inputs: float, outputs: float, density: float | None
    ) -> float:
        if density is None or known.cheapest(inputs, outputs, density)[0] != CSR:
            return 0.0
        more, fewer = (
            known.seconds(inputs, outputs, factor * density, CSR, smooth=True)
            for factor in (1.0 + _WINDOW, 1.0 - _WINDOW)
        )
        nonzeros = density * known.layer.weights(1, 1) * inputs * outputs
        return max(more - fewer, 0.0) / max(2.0 * _WINDOW * nonzeros, _NO_TIME)

    def _known(self, layer: LayerUse) -> LayerTime:
        for known in self.layers:
            if known.layer == layer:
                return known
        names = ", ".join(known.layer.name for known in self.layers)
        raise InputError(
            f"layer {layer.name!r} of this shape was not measured, known are {names}; measure "
            "with the groups that it comes from"
        )

    def _widths(self, widths: Sequence[int]) -> list[float]:
        if len(widths) != len(self.sizes):
            raise InputError(
                f"widths has {len(widths)} numbers, wanted {len(self.sizes)}: one for each family "
                "of units"
            )
        for index, (width, size) in enumerate(zip(widths, self.sizes, strict=True)):
            if not 0 <= width <= size:
                raise InputError(f"widths[{index}] is {width}, wanted 0 to {size}")
        return [float(max(width, 1)) for width in widths]

    def _densities(
        self, widths: list[float], nonzeros: Sequence[int | None] | None
    ) -> list[float | None]:
        counts = [None] * len(self.layers) if nonzeros is None else list(nonzeros)
        if len(counts) != len(self.layers):
            raise InputError(
                f"nonzeros has {len(counts)} numbers, wanted {len(self.layers)}: one for each layer"
            )
        return [
            known.density(*self._around(known.layer, widths), count)
            for known, count in zip(self.layers, counts, strict=True)
        ]


NOT_MEASURED = "no machine, multiply-adds in place of time"


def this_machine() -> str:
    """The processor and the instruction set in force."""
    return f"{processor_name()}, {instruction_set()}"


def _check_groups(groups: Any) -> None:
    if not isinstance(groups, Groups):
        raise InputError(
            f"groups is a {type(groups).__name__}, wanted what find_groups(model, example) gives"
        )


def _batch(batch: int) -> int:
    try:
        number = operator.index(batch)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"batch is {batch!r}, wanted a whole number of samples, at least 1")
    return number


def _backends(backends: Sequence[str]) -> list[str]:
    named = [backends] if isinstance(backends, str) else list(backends)
    unknown = [name for name in named if name not in BACKENDS]
    if unknown or DENSE not in named:
        raise InputError(
            f"backends is {backends!r}, wanted 'dense' and perhaps 'csr': not every layer can be "
            "sparse"
        )
    return named
