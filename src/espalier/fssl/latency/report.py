"""What a time model knows and how far it is off, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from espalier.fssl.latency.curves import Table
from espalier.fssl.latency.grid import CSR, DENSE
from espalier.fssl.latency.layer import LayerTime
from espalier.fssl.latency.measure import cache
from espalier.fssl.latency.regression import Fit

if TYPE_CHECKING:
    from espalier.fssl.latency.model import TimeModel

_HEADINGS = "layer", "weights", "way", "full", "curve", "median", "worst", "csr pays below"
_DENSITIES = [0.01 * 1.05**power for power in range(95)]


def report(model: TimeModel) -> str:
    """A table of layers, then the network, then what to know before believing it."""
    rows = [_HEADINGS, *(row for known in model.layers for row in _rows(known))]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, sizes)).rstrip() for row in rows]
    return "\n".join([_title(model), *lines, *_notes(model)])


def _title(model: TimeModel) -> str:
    threads = "1 thread" if model.threads == 1 else f"{model.threads} threads"
    return f"time model: batch {model.batch}, {threads}, {model.machine}"


def _rows(known: LayerTime) -> Iterator[tuple[str, ...]]:
    layer = known.layer
    pairs = f"{layer.in_width * layer.repeat} x {layer.out_width}"
    if layer.kind == "conv":
        pairs += " of {} x {}".format(*layer.kernel)
    for backend, fit in known.fits.items():
        seconds = known.seconds(layer.in_width, layer.out_width, 1.0, backend)
        first = backend == DENSE
        yield (
            layer.name if first else "",
            pairs if first else "",
            backend,
            _time(seconds),
            _curve(fit),
            _share(fit.median) if fit.errors else "-",
            _share(fit.worst) if fit.errors else "-",
            _break_even(known) if backend == CSR else "",
        )


def _curve(fit: Fit) -> str:
    curve = fit.curve
    name = "table" if isinstance(curve, Table) else "roofline"
    steps = curve.output_steps
    return name if steps.rule == "each" else f"{name}, {steps.rule} {steps.quantum}"


def _break_even(known: LayerTime) -> str:
    """The density below which CSR is the faster at full width."""
    full = known.layer.in_width, known.layer.out_width
    faster = [each for each in _DENSITIES if known.cheapest(*full, each)[0] == CSR]
    return _share(max(faster)) if faster else "never"


def _notes(model: TimeModel) -> Iterator[str]:
    if not model.measured:
        yield "nothing was measured: differences are those of multiply-adds"
        return
    predicted = model.seconds(model.sizes)
    if model.between is None:
        yield "the model did not run on inputs of its first layer's shape: pass example_input"
        yield f"network at full width, layers alone: {_time(predicted)}"
    else:
        off = predicted / model.between.whole - 1.0
        between = model.between.front + sum(map(sum, model.between.gaps))
        yield f"between the layers: {_time(between)} at full width"
        yield (
            f"network at full width: predicted {_time(predicted)}, measured "
            f"{_time(model.between.whole)} ({off:+.1%})"
        )
        if not model.holds_together():
            yield (
                "these do not fit together: other programs ran meanwhile; on a quiet machine, "
                f"measure anew without {cache().path}"
            )
    if model.launch_bound:
        yield "constants dominate: the time term is inactive, no width is worth it"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _share(part: float) -> str:
    return f"{100.0 * part:.1f} %"
