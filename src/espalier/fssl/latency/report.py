"""What a time model knows and how far it is off, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from espalier.fssl.latency.curves import Table
from espalier.fssl.latency.measure import times_cache
from espalier.fssl.latency.overhead import Overhead
from espalier.fssl.latency.prediction import LayerTime
from espalier.fssl.latency.probes import CSR, DENSE
from espalier.fssl.latency.regression import Fit
from espalier.tables import table_lines

_HEADINGS = "layer", "weights", "backend", "full", "curve", "median", "worst", "csr pays below"
_DENSITIES = [0.01 * 1.05**power for power in range(95)]


def report(
    layers: Sequence[LayerTime],
    overhead: Overhead | None,
    *,
    batch: int,
    threads: int,
    machine: str,
    measured: bool,
    predicted: float,
    is_consistent: bool,
    launch_bound: bool,
) -> str:
    """A table of layers, then the network, then what to know before believing it.

    Arguments:
        predicted: seconds of the network at full width.
        is_consistent: whether that fits what was measured of the whole network.
    """
    threads_word = "1 thread" if threads == 1 else f"{threads} threads"
    lines = [f"time model: batch {batch}, {threads_word}, {machine}"]
    lines += table_lines([_HEADINGS, *(row for layer_time in layers for row in _rows(layer_time))])
    if not measured:
        return "\n".join([*lines, "nothing was measured: differences are those of multiply-adds"])
    lines += _network(overhead, predicted)
    if not is_consistent:
        lines.append(
            "these do not fit together: other programs ran meanwhile; on a quiet machine, "
            f"measure anew without {times_cache().path}"
        )
    if launch_bound:
        lines.append("constants dominate: the time term is inactive, no width is worth it")
    return "\n".join(lines)


def _rows(layer_time: LayerTime) -> Iterator[tuple[str, ...]]:
    layer = layer_time.layer
    pairs = f"{layer.in_width * layer.repeat} x {layer.out_width}"
    if layer.kind == "conv":
        pairs += " of {} x {}".format(*layer.kernel)
    for backend, fit in layer_time.fits.items():
        seconds = layer_time.seconds(layer.in_width, layer.out_width, 1.0, backend)
        first = backend == DENSE
        yield (
            layer.name if first else "",
            pairs if first else "",
            backend,
            _time(seconds),
            _curve(fit),
            _share(fit.median) if fit.errors else "-",
            _share(fit.worst) if fit.errors else "-",
            _break_even(layer_time) if backend == CSR else "",
        )


def _curve(fit: Fit) -> str:
    curve = fit.curve
    name = "table" if isinstance(curve, Table) else "roofline"
    steps = curve.output_steps
    return name if steps.rule == "each" else f"{name}, {steps.rule} {steps.quantum}"


def _break_even(layer_time: LayerTime) -> str:
    """The density below which CSR is the faster at full width."""
    full = layer_time.layer.in_width, layer_time.layer.out_width
    faster = [each for each in _DENSITIES if layer_time.cheapest(*full, each)[0] == CSR]
    return _share(max(faster)) if faster else "never"


def _network(overhead: Overhead | None, predicted: float) -> list[str]:
    if overhead is None:
        return [
            "the model did not run on inputs of its first layer's shape: pass example_input",
            f"network at full width, layers alone: {_time(predicted)}",
        ]
    off = predicted / overhead.whole - 1.0
    between = overhead.before + sum(map(sum, overhead.behind))
    return [
        f"between the layers: {_time(between)} at full width",
        f"network at full width: predicted {_time(predicted)}, measured "
        f"{_time(overhead.whole)} ({off:+.1%})",
    ]


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _share(part: float) -> str:
    return f"{100.0 * part:.1f} %"
