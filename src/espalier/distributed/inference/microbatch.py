"""Microbatches: samples on their way through a part's layers, one sending while one computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.distributed.comm.world import World
from espalier.distributed.inference.program import LocalProgram
from espalier.kernels.panels import Panels, empty_panels, run_panels
from espalier.kernels.samples import Matrix, native_samples
from espalier.kernels.segment import BadSampleError, run_segment
from espalier.kernels.spmm import InputMajor
from espalier.progress import Progress

ALIVE, UNSATURATED = 1, 2  # bits of a lane: some neuron is not 0, some neuron is not `clip`
_CHECK_EVERY = 8  # layers; behind them checks of the lanes lie half as far apart again each time


@dataclass
class Counters:
    """Counts of one part and one run, by layer.

    Attributes:
        processed: samples multiplied.
        words: activations sent.
        messages: parts that something was sent to, each time.
    """

    processed: NDArray[np.int64]
    words: NDArray[np.int64]
    messages: NDArray[np.int64]

    @classmethod
    def empty(cls, layers: int) -> Counters:
        """Nothing yet."""
        return cls(*(np.zeros(layers, np.int64) for _ in range(3)))


@dataclass
class Run:
    """What all microbatches of a run share.

    Attributes:
        droppable: bool ``[layers]``: a sample that is all zero after a layer may be dropped.
        by_input: weights of the first layer, where the samples are sparse.
    """

    program: LocalProgram
    world: World
    threads: int
    droppable: NDArray[np.bool_]
    by_input: InputMajor | None
    counters: Counters
    bad: bool = False  # whether this part met a sample that is, or came to, no finite number


Buffers = tuple[NDArray[np.float32], NDArray[np.float32]]


def make_buffers(program: LocalProgram) -> Buffers:
    """Two arrays that the neurons of any layer behind the first fit in, for a microbatch."""
    steps, samples, tile = program.steps, program.microbatch, program.tile
    outputs = max(step.packed.outputs for step in steps)
    widest = max(outputs, *(step.width for step in steps[1:] or steps))
    size = -(-samples // tile), widest, tile
    return empty_panels(*size).reshape(-1), empty_panels(*size).reshape(-1)


class Microbatch:
    """Samples in lanes, one after the other; the living ones move up as others drop out.

    Attributes:
        samples: int64, the samples of the microbatch.
        lanes: int64, the sample in each lane that is left.
        saturated: int64, samples that ended full of ``clip``.
        outputs: float32 ``[lanes, computed neurons]`` of this part, once finished.
        alive: int64, samples among ``lanes`` with an output, of any part, that is not 0.
    """

    def __init__(self, run: Run, samples: NDArray[np.int64], buffers: Buffers) -> None:
        self._run, self._buffers = run, buffers
        self.samples = self.lanes = samples
        self.saturated = self.alive = np.empty(0, np.int64)
        self.outputs = np.empty((0, run.program.steps[-1].packed.outputs), np.float32)
        self._next_check = 0

    @property
    def finished(self) -> bool:
        """Whether no lane is left to compute."""
        return not len(self.lanes)

    def begin(self, matrix: Matrix) -> bool:
        """Compute the first layer; returns whether all samples were finite numbers."""
        run, step = self._run, self._run.program.steps[0]
        try:
            segment = run_segment(
                [step.packed],
                native_samples(matrix, self.samples),
                first=run.by_input,
                tile=run.program.tile,
                threads=run.threads,
            )
        except BadSampleError:
            return False
        rows = segment.rows[segment.row_of]
        self._x = self._panels(len(self.lanes), self._width_behind(0))
        _store_lanes(rows.T, self._x)
        self._first_alive = segment.alive.astype(np.uint8)
        return True

    def send_first(self) -> None:
        """Send what the first layer computed, once all parts have begun well."""
        self._finish_layer(0, self._x, self._first_alive)

    def advance(self, layer: int) -> None:
        """Compute one layer, and send what the next one reads."""
        if self.finished:
            return
        run, step = self._run, self._run.program.steps[layer]
        if step.channel is not None:
            step.channel.finish(self._x)
            run.counters.words[layer] += step.channel.exchange.words_sent * len(self.lanes)
            run.counters.messages[layer] += step.channel.exchange.messages_sent
        y = self._panels(len(self.lanes), self._width_behind(layer))
        alive = np.empty((y.shape[0], run.program.tile), np.float32)
        run_panels(step.packed, self._x, y, alive, run.threads)
        # The kernel leaves the bits of all outputs, which make no number to compare.
        self._finish_layer(layer, y, alive.reshape(-1).view(np.uint32)[: len(self.lanes)] != 0)

    def _finish_layer(self, layer: int, y: Panels, alive: NDArray[Any]) -> None:
        """Keep the outputs of the last layer, or send those of another."""
        run, outputs = self._run, self._run.program.steps[layer].packed.outputs
        run.counters.processed[layer] += len(self.lanes)
        if layer + 1 == len(run.program.steps):
            bits = self._bits(y, alive, layer)
            self.outputs = _lanes_of(y, outputs, len(self.lanes)).T
            run.bad |= run.program.unbounded and not np.isfinite(self.outputs).all()
            self.alive = self.lanes[bits & ALIVE != 0]
            return
        if self._checks(layer):
            y = self._drop(y, outputs, self._bits(y, alive, layer), layer)
        self._x = y
        following = run.program.steps[layer + 1].channel
        if following is not None and not self.finished:
            following.start(self._x)

    def _width_behind(self, layer: int) -> int:
        """Neurons the array after a layer has room for: its outputs, or all the next one sees."""
        steps = self._run.program.steps
        last = layer + 1 == len(steps)
        return steps[layer].packed.outputs if last else steps[layer + 1].width

    def _checks(self, layer: int) -> bool:
        """Whether to find the lanes that are done: behind all first layers, then more rarely."""
        if not (self._run.droppable[layer] or self._run.program.exits.saturated[layer]):
            return False
        if layer < self._next_check:
            return False
        self._next_check = layer + 1 if layer < _CHECK_EVERY else layer + layer // 2
        return True

    def _bits(self, y: Panels, alive: NDArray[Any], layer: int) -> NDArray[np.uint8]:
        """The bits of every lane, over the neurons of all parts."""
        run, count = self._run, len(self.lanes)
        bits = alive.astype(np.uint8) * ALIVE
        if run.program.exits.saturated[layer]:
            outputs = run.program.steps[layer].packed.outputs
            unlike = (y[:, :outputs] != np.float32(run.program.exits.clip)).any(axis=1)
            bits |= unlike.reshape(-1)[:count].astype(np.uint8) * UNSATURATED
        else:
            bits |= UNSATURATED
        run.world.any_bits(bits)
        return bits

    def _drop(self, y: Panels, outputs: int, bits: NDArray[np.uint8], layer: int) -> Panels:
        """Set finished lanes aside; the others move up once that frees a panel."""
        full = bits & UNSATURATED == 0
        dead = (bits & ALIVE == 0) & bool(self._run.droppable[layer])
        keep = np.flatnonzero(~full & ~dead)
        if -(-len(keep) // self._run.program.tile) == y.shape[0]:
            return y
        self.saturated = np.concatenate([self.saturated, self.lanes[full & ~dead]])
        living = _lanes_of(y, outputs, len(self.lanes))[:, keep]
        self.lanes = self.lanes[keep]
        fewer = self._panels_in(self._buffers[0], len(keep), y.shape[1])
        _store_lanes(living, fewer)
        return fewer

    def _panels(self, lanes: int, width: int) -> Panels:
        """An array in the buffer that is not in use."""
        self._buffers = self._buffers[1], self._buffers[0]
        return self._panels_in(self._buffers[0], lanes, width)

    def _panels_in(self, buffer: NDArray[np.float32], lanes: int, width: int) -> Panels:
        tile = self._run.program.tile
        panels = -(-lanes // tile)
        return buffer[: panels * width * tile].reshape(panels, width, tile)


def _lanes_of(panels: Panels, neurons: int, lanes: int) -> NDArray[np.float32]:
    """``[neurons, lanes]``, lanes beyond the last left out; a copy."""
    count, _, tile = panels.shape
    flat = panels[:, :neurons].transpose(1, 0, 2).reshape(neurons, count * tile)
    return flat[:, :lanes].copy()


def _store_lanes(rows: NDArray[np.float32], panels: Panels) -> None:
    """The reverse; the lanes left over become 0."""
    neurons, lanes = rows.shape
    count, _, tile = panels.shape
    padded = np.zeros((neurons, count * tile), np.float32)
    padded[:, :lanes] = rows
    panels[:, :neurons] = padded.reshape(neurons, count, tile).transpose(1, 0, 2)


def run_microbatches(
    run: Run,
    samples: Matrix,
    first: int,
    last: int,
    buffers: Sequence[Buffers],
    progress: Progress | None,
) -> list[Microbatch]:
    """Carry samples `first` to `last` through all layers.

    Arguments:
        buffers: for each of the microbatches that are on their way together.

    Returns:
        The microbatches in order; some are missing where `run.bad` says that a sample is bad.
    """
    program, timeout = run.program, run.world.timeout
    size, tile, together = program.microbatch, program.tile, len(buffers)
    if together > 1 and last - first <= size:
        size = max(-(-(last - first) // (2 * tile)), 1) * tile
    starts = range(first, last, size)
    done: list[Microbatch] = []
    for group in range(0, len(starts), together):
        timeout.enter(f"sample {starts[group]}, layer 0")
        here = [
            Microbatch(run, np.arange(start, min(start + size, last)), pair)
            for start, pair in zip(starts[group : group + together], buffers, strict=False)
        ]
        bad = np.array([not all(each.begin(samples) for each in here)], np.uint8)
        run.world.any_bits(bad)
        if bad[0]:
            run.bad = True
            return done
        for microbatch in here:
            microbatch.send_first()
        for layer in range(1, len(program.steps)):
            timeout.enter(f"sample {starts[group]}, layer {layer}")
            for microbatch in here:
                microbatch.advance(layer)
            if all(microbatch.finished for microbatch in here):
                break
        done += here
        if progress is not None:
            progress(int(here[-1].samples[-1]) + 1 - first, last - first)
    return done
