"""Waiting for other processes, never for ever: a limit, and words for what was waited for.

Nothing can mend a run whose process is gone or frozen. The one that finds out says which and in
which step, and ends them all; a training goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from espalier.distributed.comm.heartbeat import HeartbeatFile
from espalier.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

PATIENCE_VARIABLE = "ESPALIER_PATIENCE"
DEFAULT_PATIENCE = 60.0  # seconds without progress
STALLED = 75  # exit code of a run that was ended because a process was late
_SPINS = 4096  # before a waiting process gives up its core
_SPINS_A_CHECK = 256  # of the clock


class Timeout:
    """How long to wait, and what to say and do when that was too long.

    Arguments:
        rank: of this process.
        abort: ends all processes with an exit code.
        seconds: the limit; None for the environment's ``ESPALIER_PATIENCE``, or 60.

    Attributes:
        prefix: goes before what `enter` is told, such as ``"epoch 2, step 12, "``.
    """

    def __init__(self, rank: int, abort: Callable[[int], object], seconds: float | None) -> None:
        self.seconds = _checked(seconds)
        self.heartbeat = HeartbeatFile.of_this_run(rank)
        self._rank, self._abort = rank, abort
        self.prefix = ""
        self._step = "the start"

    def enter(self, step: str) -> None:
        """Say what is done now, in words that follow "in", such as ``"forward, layer 3"``."""
        self._step = self.prefix + step
        self.heartbeat.write(self._step)

    @property
    def step(self) -> str:
        """What is done now."""
        return self._step

    def wait(
        self, requests: Sequence[MPI.Request], peers: Sequence[int] = (), *, times: int = 1
    ) -> None:
        """Finish requests.

        Arguments:
            peers: for each request, the rank at its other end; none where all ranks take part.
            times: how often `seconds` to wait.
        """
        from mpi4py import MPI

        if MPI.Request.Testall(requests):
            return
        seconds, spins = times * self.seconds, 0
        deadline = time.monotonic() + seconds
        while not MPI.Request.Testall(requests):
            spins += 1
            if spins > _SPINS:
                os.sched_yield()
            if spins % _SPINS_A_CHECK == 0 and time.monotonic() > deadline:
                late = {
                    peer
                    for request, peer in zip(requests, peers, strict=False)
                    if not request.Test()
                }
                self.give_up(sorted(late), seconds)

    def give_up(self, late: Sequence[int], seconds: float | None = None) -> NoReturn:
        """Name the ranks that are late after so many seconds, and end the run."""
        seconds = self.seconds if seconds is None else seconds
        others = self.heartbeat.others()
        whom = " and ".join(
            f"rank {rank}" + (f" (last seen in {others[rank]})" if others.get(rank) else "")
            for rank in late
        )
        if not late and others:
            whom = "the others: " + ", ".join(f"rank {r} in {what}" for r, what in others.items())
        print(
            f"error: rank {self._rank} waited {seconds:g} s for {whom or 'the other ranks'} "
            f"in {self._step}; the run is ended",
            file=sys.stderr,
            flush=True,
        )
        self._abort(STALLED)
        os._exit(STALLED)


def _checked(seconds: float | None) -> float:
    if seconds is None:
        text = os.environ.get(PATIENCE_VARIABLE) or str(DEFAULT_PATIENCE)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
    if not 0.0 < seconds < float("inf"):
        raise InputError(
            f"patience is {seconds!r} (by argument or {PATIENCE_VARIABLE}), wanted seconds above 0"
        )
    return seconds
