"""Times as JSON values, and back with every number checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from espalier.errors import InputError
from espalier.fssl.groups.groups import LayerUse
from espalier.fssl.latency.curves import RULES, Curve, Roofline, Steps, Table, Work
from espalier.fssl.latency.overhead import LayerOverhead, Overhead
from espalier.fssl.latency.prediction import LayerTime, NetworkTime
from espalier.fssl.latency.probes import BACKENDS, DENSE
from espalier.fssl.latency.regression import Fit

FORMAT = 1
_CURVES = {"roofline": Roofline, "table": Table}


def times_to_json(time: NetworkTime, machine: str, batch: int, threads: int) -> str:
    """The times of a network, and what they were measured on and with, as JSON text."""
    plain = {
        "format": FORMAT,
        "machine": machine,
        "batch": batch,
        "threads": threads,
        "sizes": time.sizes,
        "layers": [_layer_to_json(layer_time) for layer_time in time.layers],
        "between": None if time.overhead is None else _overhead_to_json(time.overhead),
    }
    return json.dumps(plain)


def times_from_json(text: str) -> tuple[NetworkTime, str, int, int]:
    """Read back what `times_to_json` wrote: the times, machine, batch and threads.

    Raises:
        InputError: the text is damaged or of another format.
    """
    try:
        plain = json.loads(text)
        if plain["format"] != FORMAT:
            raise ValueError(f"format {plain['format']}, wanted {FORMAT}")
        time = NetworkTime(
            tuple(map(int, plain["sizes"])),
            tuple(map(_layer_from_json, plain["layers"])),
            _overhead_from_json(plain["between"]),
        )
        return time, str(plain["machine"]), int(plain["batch"]), int(plain["threads"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"this is no time model that this version can read ({error!r}); measure again with "
            "TimeModel.measure"
        ) from error


def _layer_to_json(layer_time: LayerTime) -> dict[str, Any]:
    """A layer's shape, curves, errors and gather."""
    fits = {
        backend: {"curve": _curve_to_json(fit.curve), "errors": list(fit.errors)}
        for backend, fit in layer_time.fits.items()
    }
    return {"layer": asdict(layer_time.layer), "fits": fits, "gather": layer_time.gather}


def _layer_from_json(plain: Any) -> LayerTime:
    """Read back what `_layer_to_json` gave; else raise ValueError, KeyError or TypeError."""
    layer = LayerUse(**{name: _unlisted(value) for name, value in plain["layer"].items()})
    fits = {
        str(backend): Fit(_curve_from_json(fit["curve"]), _seconds(fit["errors"]))
        for backend, fit in plain["fits"].items()
    }
    if DENSE not in fits or not fits.keys() <= set(BACKENDS):
        raise ValueError(f"backends {', '.join(fits)}")
    gather = tuple((int(width), _seconds([each])[0]) for width, each in plain["gather"])
    return LayerTime(layer, fits, gather)


def _overhead_to_json(overhead: Overhead) -> dict[str, Any]:
    return {
        "front": overhead.before,
        "gaps": overhead.behind,
        "whole": overhead.whole,
        "steady": overhead.steady,
    }


def _overhead_from_json(plain: Any) -> Overhead | None:
    if plain is None:
        return None
    behind = tuple(LayerOverhead(*_seconds(each)) for each in plain["gaps"])
    before, whole = _seconds([plain["front"], plain["whole"]])
    return Overhead(before, behind, whole)


def _curve_to_json(curve: Curve) -> dict[str, Any]:
    plain = {each.name: getattr(curve, each.name) for each in fields(curve)}
    plain |= {name: asdict(plain[name]) for name in ("input_steps", "output_steps")}
    if isinstance(curve, Table):
        return {"kind": "table", **plain, "values": curve.values.tolist()}
    return {"kind": "roofline", **plain, "work": asdict(curve.work)}


def _curve_from_json(plain: Any) -> Curve:
    values = dict(plain)
    kind = _CURVES[values.pop("kind")]
    _seconds([values["rest"]])
    for name in ("input_steps", "output_steps"):
        values[name] = _steps(values[name])
    if kind is Roofline:
        _seconds([values[name] for name in ("fixed", "per_flop", "per_byte")])
        return Roofline(**{**values, "work": Work(**values["work"])})
    axes = {name: _seconds(values[name]) for name in ("inputs", "outputs", "densities")}
    table = np.asarray(values["values"], np.float64)
    shape = tuple(map(len, axes.values()))
    if table.shape != shape or not (np.isfinite(table) & (table > 0.0)).all():
        raise ValueError(f"no table of seconds {list(shape)}")
    if any(list(axis) != sorted(set(axis)) for axis in axes.values()):
        raise ValueError("widths of a table do not rise")
    return Table(**{**values, **axes, "values": table})


def _steps(plain: Any) -> Steps:
    steps = Steps(**plain)
    if steps.rule not in RULES or not (isinstance(steps.quantum, int) and steps.quantum > 0):
        raise ValueError(f"steps {plain}")
    return steps


def _seconds(values: Any) -> tuple[float, ...]:
    numbers = tuple(map(float, values))
    if not all(0.0 <= each < math.inf for each in numbers):
        raise ValueError("seconds are negative or not finite")
    return numbers


def _unlisted(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
