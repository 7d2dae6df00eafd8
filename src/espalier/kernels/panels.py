"""Panels: activations of some neurons and samples as the kernels take them, and parts of them.

A panel is float32 ``[neurons, lanes]`` with one sample in each lane; arrays here are
``[panels, neurons, lanes]``. A layer reads and writes the first neurons of a panel, so an array
may have room behind them for what comes from elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier import _native
from espalier.kernels.threads import thread_count

SharedExchange = _native.SharedExchange
Panels = NDArray[np.float32]
CACHE_LINE = 64


def empty_panels(panels: int, neurons: int, lanes: int) -> Panels:
    """An array that starts on a cache line, as the kernels like it; its content is arbitrary."""
    size = panels * neurons * lanes
    room = np.empty(size + CACHE_LINE // 4, np.float32)
    skipped = -room.ctypes.data % CACHE_LINE // 4
    return room[skipped : skipped + size].reshape(panels, neurons, lanes)


def run_panels(
    layer: _native.PackedLayer,
    x: Panels,
    y: Panels,
    alive: NDArray[np.float32],
    threads: int | None = None,
) -> None:
    """Run one packed layer over panels.

    Arguments:
        x: ``[panels, at least the layer's inputs, lanes]``; 16, 32 or 64 lanes.
        y: ``[panels, at least its outputs, lanes]``, to write the outputs into.
        alive: ``[panels, lanes]``, to write into; 0 where all outputs of a sample are 0.

    Raises:
        ValueError: arrays that do not fit.

    >>> from espalier import Layer
    >>> from espalier.kernels import pack
    >>> x, y = np.ones((1, 2, 16), np.float32), np.empty((1, 1, 16), np.float32)
    >>> run_panels(pack(Layer([[1.0, 2.0]], bias=-1.0)), x, y, np.empty((1, 16), np.float32))
    >>> float(y[0, 0, 15])
    2.0
    """
    _native.run_panels(layer, x, y, alive, thread_count(threads))


def take_neurons(source: Panels, index: NDArray[np.int64], target: Panels, first: int = 0) -> None:
    """``target[:, first + i] = source[:, index[i]]`` for every ``i``."""
    _native.take_neurons(source, index, target, first)


def add_neurons(source: Panels, first: int, index: NDArray[np.int64], target: Panels) -> None:
    """``target[:, index[i]] += source[:, first + i]`` for every ``i``, in rising order."""
    _native.add_neurons(source, first, index, target)


class StepCounters:
    """How far each of some processes is, told in memory that they share.

    Arguments:
        memory: uint64 ``[parts, 8]``, zeros at the start; a cache line for each.
        part: whose process this is.

    >>> steps = StepCounters(np.zeros((2, 8), np.uint64), part=0)
    >>> steps.announce(1)
    >>> steps.late(np.array([0]), 1, seconds=0.0), steps.late(np.array([0, 1]), 1, seconds=0.0)
    (None, 1)
    """

    def __init__(self, memory: NDArray[np.uint64], part: int) -> None:
        self._memory, self._part = memory, part

    def announce(self, step: int) -> None:
        """Tell that this step is done, and everything written before it."""
        _native.announce_step(self._memory, self._part, step)

    def late(self, parts: NDArray[np.int64], step: int, seconds: float) -> int | None:
        """Wait for the step of all of these parts; the first that is late when time is over."""
        part = _native.wait_for_step(self._memory, parts, step, seconds)
        return None if part < 0 else part
