"""How long a network takes, by its widths and non-zeros, on this machine."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from espalier.errors import InputError
from espalier.fssl.groups.groups import Groups, LayerUse, check_groups
from espalier.fssl.latency.measure import (
    network_overhead,
    overhead_key,
    tasks,
    time_layers,
    times_cache,
)
from espalier.fssl.latency.overhead import Overhead
from espalier.fssl.latency.prediction import (
    LayerTime,
    NetworkTime,
    measured_layers,
    nominal_layers,
)
from espalier.fssl.latency.probes import BACKENDS, DENSE
from espalier.fssl.latency.report import report
from espalier.fssl.latency.serialize import times_from_json, times_to_json
from espalier.kernels import instruction_set, thread_count
from espalier.nn.torch_tools import torch_threads
from espalier.progress import Progress
from espalier.timing.processor import processor_name


@dataclass(frozen=True, kw_only=True)
class TimeModel(NetworkTime):
    """Predicts the seconds of each layer and of the whole network; ``print`` it for its errors.

    Attributes:
        sizes: full width of each family of units.
        layers: in order of execution.
        overhead: what the network does between its layers, None where that is not known.
        batch: samples of a batch.
        threads: of a call.
        machine: processor and instruction set that were measured, or why nothing was.
    """

    batch: int
    threads: int
    machine: str

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

        Seconds are kept in the user's cache: the same layer is measured once. What an unsteady
        machine measured is not kept, and what does not add up (`is_consistent`) is
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
        check_groups(groups)
        batch = _batch(batch)
        count = thread_count(threads)
        cache = times_cache(folder)
        to_measure = tasks(groups, batch, count, _backends(backends))
        sizes = tuple(groups.full_widths)

        def measured() -> TimeModel:
            with torch_threads(count):
                seconds = time_layers(groups, batch, count, to_measure, cache, progress)
                overhead = network_overhead(groups, batch, count, example_input, cache)
            layers = measured_layers(to_measure, seconds, batch)
            return cls(sizes, layers, overhead, batch=batch, threads=count, machine=this_machine())

        model = measured()
        if not model.is_consistent(groups.full_nonzeros):
            overhead = overhead_key(groups, batch, count, example_input)
            cache.forget([overhead, *(task.key for task in to_measure)])
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
        check_groups(groups)
        batch = _batch(batch)
        sizes, layers = tuple(groups.full_widths), nominal_layers(groups.layers, batch)
        return cls(sizes, layers, None, batch=batch, threads=1, machine=NOT_MEASURED)

    @property
    def measured(self) -> bool:
        """Whether the seconds were measured, and do not stand for multiply-adds."""
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
        layer_time = self._layer_time(layer)
        if backend not in layer_time.fits:
            raise InputError(
                f"backend is {backend!r}, known of layer {layer.name!r} are "
                f"{', '.join(map(repr, layer_time.fits))}; name it in measure(backends=...)"
            )
        widths = layer_time.widths(inputs, outputs)
        return layer_time.seconds(*widths, layer_time.density(*widths, nonzeros), backend)

    def backend(
        self, layer: LayerUse, inputs: int, outputs: int, nonzeros: int | None = None
    ) -> str:
        """The cheapest way to run a layer with so many units and non-zeros (None: dense).

        Never CSR where more than 0.7 of the weights are left: it would only take more memory.
        """
        layer_time = self._layer_time(layer)
        widths = layer_time.widths(inputs, outputs)
        return layer_time.cheapest(*widths, layer_time.density(*widths, nonzeros))[0]

    @property
    def between(self) -> Overhead | None:
        """Another name of `overhead`."""
        return self.overhead

    holds_together = NetworkTime.is_consistent  # another name

    def to_json(self) -> str:
        """All of it as JSON text."""
        return times_to_json(self, self.machine, self.batch, self.threads)

    @classmethod
    def from_json(cls, text: str, *, elsewhere: bool = False) -> TimeModel:
        """Read back what `to_json` wrote.

        Arguments:
            text: JSON.
            elsewhere: whether to take times of another machine, to shape a network for it.

        Raises:
            InputError: the text is damaged, of another format, or of another machine.
        """
        time, machine, batch, threads = times_from_json(text)
        parts = time.sizes, time.layers, time.overhead
        model = cls(*parts, batch=batch, threads=threads, machine=machine)
        if model.measured and model.machine != this_machine() and not elsewhere:
            raise InputError(
                f"these times are of another machine ({model.machine}), this one is "
                f"{this_machine()}; measure here, or pass elsewhere=True to plan for that one"
            )
        return model

    def report(self) -> str:
        """A table: each layer's time at full width, its curve, and its held-out errors."""
        return report(
            self.layers,
            self.overhead,
            batch=self.batch,
            threads=self.threads,
            machine=self.machine,
            measured=self.measured,
            predicted=self.seconds(self.sizes),
            is_consistent=self.is_consistent(),
            launch_bound=self.launch_bound,
        )

    def __str__(self) -> str:
        return self.report()

    def _layer_time(self, layer: LayerUse) -> LayerTime:
        for layer_time in self.layers:
            if layer_time.layer == layer:
                return layer_time
        names = ", ".join(layer_time.layer.name for layer_time in self.layers)
        raise InputError(
            f"layer {layer.name!r} of this shape was not measured, known are {names}; measure "
            "with the groups that it comes from"
        )


NOT_MEASURED = "no machine, multiply-adds in place of time"


def this_machine() -> str:
    """The processor and the instruction set in force."""
    return f"{processor_name()}, {instruction_set()}"


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
