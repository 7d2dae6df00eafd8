"""What each pass of a layer costs, dense and zero-skipping, measured on this machine.

A layer asks for the curves of its shape when it first sees it. They are measured once, in some
milliseconds a variant, and kept in ``$XDG_CACHE_HOME/espalier`` for each processor, instruction set
and version. Choices are made from the curves alone and never from live timing, so two runs with
the same cache give the same bits. What a restless machine measured is not kept.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

from espalier.nn.zeroskip.latency import VARIANTS, Curve
from espalier.nn.zeroskip.measure import measure
from espalier.nn.zeroskip.problem import Case
from espalier.timing.cache import MachineCache

FORMAT = 1


class Costs:
    """Curves by case and pass: from memory, from the cache file, or measured now."""

    def __init__(self, folder: Path | None = None) -> None:
        self._curves: dict[tuple[Case, str], Curve] = {}
        versions = f"{version('espalier')}-torch-{torch.__version__}"
        self._cache = MachineCache(f"layers-{FORMAT}-{versions}", folder)

    def curve(self, case: Case, pass_name: str) -> Curve:
        """The curve of one pass."""
        try:
            return self._curves[case, pass_name]
        except KeyError:
            pass
        key = case.key(pass_name)
        try:
            curve = Curve.from_json(self._cache.get(key), VARIANTS[pass_name])
        except (ValueError, KeyError, TypeError):
            curve, steady = measure(case, pass_name)
            if steady:
                self._cache.put({key: vars(curve)})
        self._curves[case, pass_name] = curve
        return curve


COSTS = Costs()
